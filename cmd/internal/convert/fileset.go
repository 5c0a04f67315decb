package convert

import (
	"os"
	"path/filepath"
	"slices"

	"wattrace/cmd/internal/cli"
)

// A fileSet is a directory of several files of fixed names.
type fileSet struct {
	*newDir
	files []*os.File
}

// newFileSet begins the directory that -o names, of files of these names.
func newFileSet(env *cli.Env, names ...string) (*fileSet, error) {
	path := env.OutputPath()
	dir, err := openDir(env, path, "one that has nothing else", func() (string, error) {
		entries, err := os.ReadDir(path)
		for _, e := range entries {
			if !slices.Contains(names, e.Name()) {
				return e.Name(), err
			}
		}
		return "", err
	})
	if err != nil {
		return nil, err
	}
	d := &fileSet{newDir: dir}
	if err := d.make(); err != nil {
		d.abort()
		return nil, err
	}
	return d, nil
}

// create begins a file.
func (d *fileSet) create(name string) (*os.File, error) {
	f, err := os.Create(filepath.Join(d.inner(), name))
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
	d.newDir.abort()
}

// close gives the directory its name.
func (d *fileSet) close() error {
	for _, f := range d.files {
		if err := f.Close(); err != nil {
			return err
		}
	}
	d.files = nil
	return d.publish()
}
