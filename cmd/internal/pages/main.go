// Pages writes the manual pages and shell completions of the tools:
//
//	go run ./cmd/internal/pages -bin bin -o dist/share -date 2026-11-27 TOOL...
//
// A page is the package comment of cmd/TOOL and the flags of TOOL --help, so that there is
// no third text to keep true. Below -o they lie as a system has them: man/man1,
// bash-completion/completions, zsh/site-functions, fish/vendor_completions.d. They are
// named wattrace-TOOL, as the installed links are: convert, compare and plot are others'
// programs too.
package main

import (
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	bin := flag.String("bin", "bin", "where the tools are")
	out := flag.String("o", "dist/share", "where to write to")
	date := flag.String("date", "", "date of the manual pages, as 2026-11-27")
	flag.Parse()
	for _, name := range flag.Args() {
		if err := write(name, *bin, *out, *date); err != nil {
			fmt.Fprintln(os.Stderr, "pages:", err)
			os.Exit(1)
		}
	}
}

// write writes the pages of one tool.
func write(name, bin, out, date string) error {
	help, err := exec.Command(filepath.Join(bin, name), "--help").Output()
	if err != nil {
		return fmt.Errorf("%s --help: %w", name, err)
	}
	version, err := exec.Command(filepath.Join(bin, name), "--version").Output()
	if err != nil {
		return fmt.Errorf("%s --version: %w", name, err)
	}
	t, err := parseHelp(string(help))
	if err != nil {
		return fmt.Errorf("%s --help: %w", name, err)
	}
	t.version, t.date = versionOf(string(version)), date
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("cmd", name, "main.go"), nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		return err
	}
	for path, text := range map[string]string{
		"man/man1/wattrace-" + name + ".1":                     t.man(f.Doc.Text()),
		"bash-completion/completions/wattrace-" + name:         t.bash(),
		"zsh/site-functions/_wattrace-" + name:                 t.zsh(),
		"fish/vendor_completions.d/wattrace-" + name + ".fish": t.fish(),
	} {
		path = filepath.Join(out, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			return err
		}
	}
	return nil
}
