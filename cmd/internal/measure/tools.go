package measure

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

// tools are the siblings, by name.
type tools struct {
	paths    map[string]string
	versions map[string]string
}

// findTools finds the tools that are needed, beside this program's own file, else on
// PATH, and asks each for its version: other programs have the same names. Optional ones
// are looked for beside this one alone.
func findTools(needed, optional []string) (*tools, error) {
	t := &tools{map[string]string{}, map[string]string{"measure": cli.Version}}
	own, err := os.Executable()
	if err != nil {
		own = os.Args[0]
	}
	dir := filepath.Dir(own)
	for _, name := range needed {
		path := filepath.Join(dir, name)
		if _, err := exec.LookPath(path); err != nil {
			if path, err = exec.LookPath(name); err != nil {
				return nil, cli.Hint(fmt.Errorf("%s is neither in %s nor on PATH", name, dir), "measure starts the other tools of wattrace: keep them together")
			}
		}
		if err := t.add(name, path); err != nil {
			return nil, err
		}
	}
	for _, name := range optional {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil && t.add(name, path) != nil {
			delete(t.paths, name)
		}
	}
	return t, nil
}

// add asks a tool for its version.
func (t *tools) add(name, path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	version, ours := strings.CutPrefix(strings.TrimSpace(string(out)), name+" (wattrace ")
	if err != nil || !ours {
		return fmt.Errorf("%s: is not wattrace's %s", path, name)
	}
	t.paths[name], t.versions[name] = path, strings.TrimSuffix(version, ")")
	return nil
}
