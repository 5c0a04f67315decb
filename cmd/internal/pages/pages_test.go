package main

import (
	"bytes"
	"context"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/cmd/internal/compare"
	"wattrace/cmd/internal/convert"
	"wattrace/cmd/internal/measure"
	"wattrace/cmd/internal/monitor"
	"wattrace/cmd/internal/plot"
	"wattrace/cmd/internal/record"
	"wattrace/cmd/internal/reduce"
	"wattrace/cmd/internal/replay"
	"wattrace/cmd/internal/simulate"
)

var mains = map[string]func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int{
	"compare": compare.Main, "convert": convert.Main, "measure": measure.Main, "monitor": monitor.Main, "plot": plot.Main, "record": record.Main, "reduce": reduce.Main, "replay": replay.Main, "simulate": simulate.Main,
}

// tools returns all tools, and their package comments.
func tools(t *testing.T) (list []tool, comments []string) {
	t.Helper()
	paths, err := filepath.Glob("../../*/main.go")
	if err != nil || len(paths) == 0 {
		t.Fatal("no mains: ", err)
	}
	for _, path := range paths {
		name := filepath.Base(filepath.Dir(path))
		if mains[name] == nil {
			t.Fatalf("%s is not in this test's table", name)
		}
		var stdout, stderr bytes.Buffer
		if code := mains[name](t.Context(), []string{"--help"}, nil, &stdout, &stderr); code != 0 {
			t.Fatalf("%s --help: exit %d, %s", name, code, stderr.String())
		}
		v, err := parseHelp(stdout.String())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		v.version, v.date = "wattrace 1.2.3", "2026-11-27"
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		list, comments = append(list, v), append(comments, f.Doc.Text())
	}
	return list, comments
}

func TestParseHelp(t *testing.T) {
	t.Parallel()
	const text = "try - does it\n\nUsage: try [flags] FILE [-- COMMAND]\n\nIt does.\n\nFlags:\n" +
		"  --form FORM                        FORM of it: text, json; or none (default: \"text\")\n" +
		"  --add NAME [ --add NAME ]          what to add\n" +
		"  --output FILE, -o FILE             write to FILE (default: \"-\")\n" +
		"  --colour never|always              colour\n" +
		"  --force                            replace\n" +
		"\nExit status: 0 ok.\n"
	got, err := parseHelp(text)
	if err != nil {
		t.Fatal(err)
	}
	want := tool{name: "try", usage: "does it", args: "FILE [-- COMMAND]", command: true, exits: "0 ok.", flags: []option{
		{names: []string{"--form"}, value: "FORM", usage: "FORM of it: text, json; or none", preset: "text", words: []string{"text", "json"}},
		{names: []string{"--add"}, value: "NAME", repeated: true, usage: "what to add"},
		{names: []string{"--output", "-o"}, value: "FILE", usage: "write to FILE", preset: "-"},
		{names: []string{"--colour"}, value: "never|always", usage: "colour", words: []string{"never", "always"}},
		{names: []string{"--force"}, usage: "replace"},
	}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(tool{}, option{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, bad := range []string{"", "try - x\n", strings.Replace(text, "  --force  ", "  force  ", 1), strings.Replace(text, "Exit", "exit", 1)} {
		if _, err := parseHelp(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestMan: mandoc, where there is one, finds nothing wrong, and nothing of the comment is lost.
func TestMan(t *testing.T) {
	list, comments := tools(t)
	for i, v := range list {
		page := v.man(comments[i])
		for _, want := range []string{".TH WATTRACE\\-" + strings.ToUpper(v.name) + " 1 \"2026-11-27\" \"wattrace 1.2.3\"", ".SH OPTIONS\n", "\\fB\\-\\-help\\fR, \\fB\\-h\\fR\nprint this\n", ".SH EXIT STATUS\n0 ok, "} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: no %q", v.name, want)
			}
		}
		mandoc, err := exec.LookPath("mandoc")
		if err != nil {
			continue
		}
		path := filepath.Join(t.TempDir(), "page.1")
		if err := os.WriteFile(path, []byte(page), 0o666); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(mandoc, "-Tlint", "-Wwarning", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", v.name, err, out)
		}
		text, err := exec.Command(mandoc, "-Tutf8", "-O", "width=1000", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		shown := strings.Join(strings.Fields(overstrike(string(text))), " ")
		for line := range strings.SplitSeq(comments[i], "\n") {
			if line = strings.Join(strings.Fields(strings.TrimLeft(line, "#- ")), " "); line != "" && !strings.Contains(strings.ToUpper(shown), strings.ToUpper(line)) {
				t.Errorf("%s: the page lacks %q", v.name, line)
			}
		}
	}
}

// overstrike takes away how bold and underlined letters are printed.
func overstrike(text string) string {
	runes := []rune(text)
	out := runes[:0]
	for i, r := range runes {
		if r != '\b' && (i+1 == len(runes) || runes[i+1] != '\b') {
			out = append(out, r)
		}
	}
	return strings.NewReplacer("“", `"`, "”", `"`, "‘", "`", "’", "'").Replace(string(out))
}

func TestBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip(err)
	}
	list, _ := tools(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a file"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	complete := func(v tool, words ...string) []string {
		script := v.bash() + "\nCOMP_WORDS=(\"$@\")\nCOMP_CWORD=$(($# - 1))\n_wattrace_" + v.name + "\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
		cmd := exec.Command(bash, append([]string{"--norc", "-c", script, "bash", v.name}, words...)...)
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %q: %v", v.name, words, err)
		}
		return slices.DeleteFunc(strings.Split(string(out), "\n"), func(s string) bool { return s == "" })
	}
	for _, v := range list {
		for _, c := range []struct {
			words, want []string
		}{
			{[]string{"--hel"}, []string{"--help"}},
			{[]string{"--progress", ""}, []string{"auto", "plain", "none"}},
			{[]string{"--progress", "p"}, []string{"plain"}},
			{[]string{"a"}, []string{"a file"}},
			{[]string{"-"}, allNames(v)},
		} {
			got := complete(v, c.words...)
			if v.command && c.words[0] == "a" && len(got) == 0 {
				continue
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("%s %q (-want +got):\n%s", v.name, c.words, d)
			}
		}
		if v.command {
			if got := complete(v, "--", "bas"); !slices.Contains(got, "bash") {
				t.Errorf("%s -- bas: %q", v.name, got)
			}
		}
	}
}

func allNames(v tool) (names []string) {
	for _, o := range v.flags {
		names = append(names, o.names...)
	}
	return names
}

// TestOtherShells: they take their completions, and fish, which can be asked, gives what it should.
func TestOtherShells(t *testing.T) {
	list, _ := tools(t)
	if zsh, err := exec.LookPath("zsh"); err == nil {
		for _, v := range list {
			if out, err := exec.Command(zsh, "-n", "-c", v.zsh()).CombinedOutput(); err != nil {
				t.Errorf("%s: zsh: %v\n%s", v.name, err, out)
			}
		}
	}
	if fish, err := exec.LookPath("fish"); err == nil {
		for _, v := range list {
			cmd := exec.Command(fish, "--no-config", "-c", v.fish()+"\ncomplete -C 'wattrace-"+v.name+" --progress '\ncomplete -C 'wattrace-"+v.name+" --he'\n")
			cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "plain") || !strings.Contains(string(out), "--help\tprint this") {
				t.Errorf("%s: fish: %v\n%s", v.name, err, out)
			}
		}
	}
	for _, v := range list {
		if !strings.Contains(v.zsh(), "#compdef wattrace-"+v.name) || !strings.Contains(v.zsh(), "'--progress[how to show progress\\: auto|plain|none]:auto|plain|none:(auto plain none)'") {
			t.Errorf("%s: %s", v.name, v.zsh())
		}
	}
}
