package srtslurm

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"wattrace/formats"
)

// Find returns the directory of the package that a path names, or that a job's directory
// holds (power, logs/power), and the directory that the package lies in; root is "" where
// the path names the package itself.
func Find(path string) (dir, root string, ok bool) {
	if path == "-" {
		return "", "", false
	}
	if Is(os.DirFS(path)) {
		return path, "", true
	}
	for _, root := range []string{path, filepath.Join(path, "logs"), filepath.Join(path, "LOGS")} {
		if dir := filepath.Join(root, "power"); Is(os.DirFS(dir)) {
			return dir, root, true
		}
	}
	return "", "", false
}

// Open reads what a package says of itself and opens its samples, which are those that the
// manifest has the hash of. Without an error they are the caller's to close.
func Open(dir string, stdin io.Reader) (*Package, *formats.Input, error) {
	p, err := Load(os.DirFS(dir), dir)
	if err != nil {
		return nil, nil, err
	}
	in, err := formats.Open(filepath.Join(dir, Samples), stdin)
	if err != nil {
		return nil, nil, err
	}
	err = p.Check(in)
	if err == nil && in.Kind() != formats.SRTSlurm {
		err = fmt.Errorf("%s: is a %s, not the samples of the package", in.Name(), in.Kind())
	}
	if err != nil {
		in.Close()
		return nil, nil, err
	}
	return p, in, nil
}
