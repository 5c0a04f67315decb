package convert

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wattrace/cmd/internal/cli"
)

// A fileSet is an output of several files, which appears whole or not at all: it is
// made under another name beside its own.
type fileSet struct {
	path, temp string
	force      bool
	files      []*os.File
}

// newFileSet begins the directory that -o names. One that exists is refused; with
// --force it is replaced, if it holds nothing but files of the names that are written.
func newFileSet(env *cli.Env) (*fileSet, error) {
	d := &fileSet{path: strings.TrimRight(env.OutputPath(), "/"), force: env.Force()}
	if d.path == "" {
		return nil, cli.Usagef("-o %s: want the name of a directory", env.OutputPath())
	}
	if err := d.refuseExisting(); err != nil {
		return nil, err
	}
	// os.MkdirTemp would make one that nobody else may read.
	temp := filepath.Join(filepath.Dir(d.path), fmt.Sprintf(".%s.%d", filepath.Base(d.path), os.Getpid()))
	if err := os.Mkdir(temp, 0o777); err != nil {
		return nil, err
	}
	d.temp = temp
	return d, nil
}

func (d *fileSet) refuseExisting() error {
	info, err := os.Lstat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s: is no directory", d.path)
	case !d.force:
		return cli.Hint(fmt.Errorf("%s: exists already", d.path), "--force replaces it")
	}
	return nil
}

// create begins a file.
func (d *fileSet) create(name string) (*os.File, error) {
	f, err := os.Create(filepath.Join(d.temp, name))
	if err == nil {
		d.files = append(d.files, f)
	}
	return f, err
}

// abort removes what was made, unless it was closed.
func (d *fileSet) abort() {
	for _, f := range d.files {
		f.Close()
	}
	if d.temp != "" {
		os.RemoveAll(d.temp)
	}
}

// close gives the directory its name.
func (d *fileSet) close() error {
	var names []string
	for _, f := range d.files {
		names = append(names, filepath.Base(f.Name()))
		if err := f.Close(); err != nil {
			return err
		}
	}
	d.files = nil
	if err := d.refuseExisting(); err != nil {
		return err
	}
	old, err := os.ReadDir(d.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range old {
		if !slices.Contains(names, e.Name()) {
			return fmt.Errorf("%s: holds %s, which --force does not replace", d.path, e.Name())
		}
	}
	aside := ""
	if err == nil {
		aside = d.temp + ".old"
		if err := os.Rename(d.path, aside); err != nil {
			return err
		}
	}
	if err := os.Rename(d.temp, d.path); err != nil {
		if aside != "" {
			err = errors.Join(err, os.Rename(aside, d.path))
		}
		return err
	}
	d.temp = ""
	if aside != "" {
		return os.RemoveAll(aside)
	}
	return nil
}
