package sibling

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"wattrace/cmd/internal/cli"
)

// Tools are the siblings, by name.
type Tools struct {
	Paths    map[string]string
	Versions map[string]string
}

// Find finds the tools that are needed, beside this program's own file, else on
// PATH, and asks each for its version: other programs have the same names. Optional ones
// are looked for beside this one alone. tool is the name of this one.
func Find(tool string, needed, optional []string) (*Tools, error) {
	t := &Tools{map[string]string{}, map[string]string{tool: cli.Version}}
	own, err := os.Executable()
	if err != nil {
		own = os.Args[0]
	}
	dir := filepath.Dir(own)
	for _, name := range needed {
		path := filepath.Join(dir, name)
		if _, err := exec.LookPath(path); err != nil {
			if path, err = exec.LookPath(name); err != nil {
				return nil, cli.Hint(fmt.Errorf("%s is neither in %s nor on PATH", name, dir), "%s starts other tools of wattrace: keep them together", tool)
			}
		}
		if err := t.add(name, path); err != nil {
			return nil, err
		}
	}
	for _, name := range optional {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil && t.add(name, path) != nil {
			delete(t.Paths, name)
		}
	}
	return t, nil
}

// add asks a tool for its version.
func (t *Tools) add(name, path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	version, ours := strings.CutPrefix(strings.TrimSpace(string(out)), name+" (wattrace ")
	if err != nil || !ours {
		return fmt.Errorf("%s: is not wattrace's %s", path, name)
	}
	t.Paths[name], t.Versions[name] = path, strings.TrimSuffix(version, ")")
	return nil
}
