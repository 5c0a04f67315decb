package convert

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"wattrace/cmd/internal/cli"
)

// A newDir is an output that is a directory. It appears whole or not at all: it is filled
// under another name beside its own.
type newDir struct {
	env  *cli.Env
	path string
	of   string                 // what --force replaces
	only func() (string, error) // what is there that --force does not replace; "" is nothing
	temp string                 // a hidden directory beside it, for inner; "" is not yet made
}

// openDir checks that the directory can be written. One that exists is refused; with
// --force it is replaced, if it holds nothing but what only allows.
func openDir(env *cli.Env, path, of string, only func() (string, error)) (*newDir, error) {
	d := &newDir{env: env, path: strings.TrimRight(path, "/"), of: of, only: only}
	if d.path == "" {
		return nil, cli.Usagef("-o %s: is the root", path)
	}
	return d, d.refuseExisting()
}

func (d *newDir) refuseExisting() error {
	info, err := os.Lstat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir(): // a link would be replaced, not what it names
		return fmt.Errorf("%s: is there, and no directory", d.path)
	}
	for _, in := range d.env.Inputs() {
		switch below, ok := d.holds(in); {
		case !ok:
		case below == ".":
			return fmt.Errorf("%s: is an input", d.path)
		default:
			return fmt.Errorf("%s: has an input, %s", d.path, below)
		}
	}
	entries, err := os.ReadDir(d.path)
	if err != nil || len(entries) == 0 {
		return err
	}
	if !d.env.Force() {
		return cli.Hint(fmt.Errorf("%s: exists already", d.path), "--force replaces %s", d.of)
	}
	other, err := d.only()
	if err == nil && other != "" {
		err = fmt.Errorf("%s: has %s, and is not replaced", d.path, other)
	}
	return err
}

// holds returns where in the directory a path is, if it is; "." is the directory itself.
func (d *newDir) holds(path string) (below string, ok bool) {
	dir, err := realPath(d.path)
	if err != nil || path == "-" {
		return "", false
	}
	if path, err = realPath(path); err != nil {
		return "", false
	}
	below, err = filepath.Rel(dir, path)
	return below, err == nil && filepath.IsLocal(below)
}

// realPath returns the absolute path of what is there, without links.
func realPath(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// make makes the directory to fill, with the mode that the user's mask gives.
func (d *newDir) make() error {
	temp, err := os.MkdirTemp(filepath.Dir(d.path), "."+filepath.Base(d.path)+".*")
	if err != nil {
		return err
	}
	d.temp = temp
	return os.Mkdir(d.inner(), 0o777)
}

// inner is the directory to fill.
func (d *newDir) inner() string { return filepath.Join(d.temp, "new") }

// publish gives the directory its name, in the place of one that may be replaced.
func (d *newDir) publish() error {
	if err := d.refuseExisting(); err != nil { // something may have come meanwhile
		return err
	}
	old := filepath.Join(d.temp, "old")
	err := os.Rename(d.path, old)
	replaced := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(d.inner(), d.path); err != nil {
		if replaced {
			err = errors.Join(err, os.Rename(old, d.path))
		}
		return err
	}
	return os.RemoveAll(d.temp)
}

// abort removes what was made.
func (d *newDir) abort() {
	if d.temp != "" {
		os.RemoveAll(d.temp)
	}
}
