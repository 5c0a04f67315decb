package cli

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ucli "github.com/urfave/cli/v2"
)

// runTool runs a small tool in process and returns what came out.
func runTool(t *testing.T, action func(env *Env, c *ucli.Context) error, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	tool := Tool{
		Name: "tool", Usage: "does things", Args: "FILE...", Output: true,
		Flags: []ucli.Flag{&ucli.StringFlag{Name: "url", Usage: "`URL` of the server"}, &ucli.StringSliceFlag{Name: "set"}, &ucli.BoolFlag{Name: "check"},
			&ucli.DurationFlag{Name: "for"}, &ucli.DurationFlag{Name: "wait", Value: 10 * time.Second}, &ucli.IntFlag{Name: "count"}},
		Action: func(_ context.Context, env *Env, c *ucli.Context) error { return action(env, c) },
	}
	var out, errs bytes.Buffer
	code = Main(t.Context(), tool, args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestFlagsStandAnywhereBeforeTheCommand(t *testing.T) {
	var operands, command, set []string
	var url string
	var check bool
	code, _, stderr := runTool(t, func(env *Env, c *ucli.Context) error {
		operands, command, set, url, check = env.Operands, env.Command, c.StringSlice("set"), c.String("url"), c.Bool("check")
		return nil
	}, "a.jsonl", "--url", "http://x", "-", "--set=a=1,2", "--check", "b", "--", "cmd", "--url", "y")
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d, stderr %q", code, stderr)
	}
	if diff := cmp.Diff([]string{"a.jsonl", "-", "b"}, operands); diff != "" {
		t.Error("operands:", diff)
	}
	if diff := cmp.Diff([]string{"cmd", "--url", "y"}, command); diff != "" {
		t.Error("command:", diff)
	}
	if diff := cmp.Diff([]string{"a=1,2"}, set); diff != "" {
		t.Error("a comma split a value:", diff)
	}
	if url != "http://x" || !check {
		t.Errorf("url %q, check %v", url, check)
	}
}

// full is a disk that is.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestHelpThatCannotBeWritten(t *testing.T) {
	for _, flag := range []string{"--help", "-h", "--version"} {
		var errs bytes.Buffer
		tool := Tool{Name: "tool", Usage: "does things"}
		if code := Main(t.Context(), tool, []string{flag}, strings.NewReader(""), full{}, &errs); code != ExitFailed || errs.String() != "tool: no space left on device\n" {
			t.Errorf("%s: exit %d, %q", flag, code, errs.String())
		}
	}
}

func TestErrorsAndExitCodes(t *testing.T) {
	check := func(err error, wantCode int, wantStderr string) {
		t.Helper()
		code, stdout, stderr := runTool(t, func(*Env, *ucli.Context) error { return err })
		if code != wantCode || stderr != wantStderr || stdout != "" {
			t.Errorf("%v: exit %d, stderr %q, stdout %q; want %d, %q", err, code, stderr, stdout, wantCode, wantStderr)
		}
	}
	check(nil, 0, "")
	check(errors.New("no disk"), 1, "tool: no disk\n")
	check(Hint(errors.New("no disk"), "buy one"), 1, "tool: no disk\ntool: hint: buy one\n")
	check(Usagef("no operand"), 2, "tool: no operand\ntool: hint: see tool --help\n")
	check(Incompletef("3 of 4 failed"), 3, "tool: 3 of 4 failed\n")
	check(ErrInterrupted, 130, "")
	check(ExitStatus(7), 7, "")
}

func TestUnknownFlag(t *testing.T) {
	code, stdout, stderr := runTool(t, func(*Env, *ucli.Context) error { t.Error("the action ran"); return nil }, "--urll", "x")
	want := "tool: unknown flag --urll\ntool: hint: did you mean --url?\ntool: hint: see tool --help\n"
	if code != 2 || stdout != "" || stderr != want {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	code, _, stderr = runTool(t, nil, "--url")
	if code != 2 || !strings.Contains(stderr, "--url needs a value") {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
}

func TestHelpIsAResult(t *testing.T) {
	code, stdout, stderr := runTool(t, nil, "--help")
	if code != 0 || stderr != "" {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
	for _, want := range []string{"tool - does things", "--url URL ", " URL of the server\n", "--progress auto|plain|none ", "(default: 10s)", "Exit status: 0 ok"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("help lacks %q:\n%s", want, stdout)
		}
	}
	for _, nothing := range []string{"(default: false)", "(default: 0)", "(default: 0s)"} {
		if strings.Contains(stdout, nothing) {
			t.Errorf("help says %s:\n%s", nothing, stdout)
		}
	}
	if code, stdout, _ := runTool(t, nil, "--version"); code != 0 || stdout != "tool (wattrace "+Version+")\n" {
		t.Errorf("--version: exit %d, %q", code, stdout)
	}
}

func TestOutput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	write := func(opt OutputOptions, text string, fail error) func(*Env, *ucli.Context) error {
		return func(env *Env, _ *ucli.Context) error {
			o, err := env.Output(opt)
			if err != nil {
				return err
			}
			if _, err := o.Write([]byte(text)); err != nil {
				return err
			}
			if fail != nil {
				o.Abort()
				return fail
			}
			return o.Close()
		}
	}
	content := func() string {
		b, err := os.ReadFile(path)
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	if code, _, stderr := runTool(t, write(OutputOptions{Atomic: true}, "half", errors.New("broke")), "-o", path); code != 1 {
		t.Fatal(code, stderr)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 0 {
		t.Error("an aborted atomic output left", entries)
	}
	if code, _, stderr := runTool(t, write(OutputOptions{Atomic: true}, "one", nil), "-o", path); code != 0 || content() != "one" {
		t.Fatal(code, stderr, content())
	}
	for _, opt := range []OutputOptions{{}, {Atomic: true}, {Log: true}} {
		code, _, stderr := runTool(t, write(opt, "two", nil), "-o", path)
		if code != 1 || !strings.Contains(stderr, "exists already") || content() != "one" {
			t.Errorf("%+v: exit %d, stderr %q, content %q", opt, code, stderr, content())
		}
		if code, _, stderr := runTool(t, write(opt, "one", nil), "--force", "-o", path); code != 0 || content() != "one" {
			t.Errorf("%+v --force: exit %d, stderr %q, content %q", opt, code, stderr, content())
		}
	}
	if code, stdout, _ := runTool(t, write(OutputOptions{}, "three", nil)); code != 0 || stdout != "three" {
		t.Error(code, stdout)
	}
}

// TestOutputIsNamed: what goes wrong with an output names it as the user did, with the reason,
// and a directory that is not there is missed before anything is computed.
func TestOutputIsNamed(t *testing.T) {
	dir := t.TempDir()
	write := func(opt OutputOptions, between func()) func(*Env, *ucli.Context) error {
		return func(env *Env, _ *ucli.Context) error {
			o, err := env.Output(opt)
			if err != nil {
				return err
			}
			if between != nil {
				between()
			}
			if _, err := o.Write([]byte("text")); err != nil {
				return err
			}
			return o.Close()
		}
	}
	check := func(name, want string, opt OutputOptions, between func(path string)) {
		t.Helper()
		path, computed := filepath.Join(dir, name), false
		code, _, stderr := runTool(t, write(opt, func() {
			if computed = true; between != nil {
				between(path)
			}
		}), "-o", path)
		if line, _, _ := strings.Cut(stderr, "\n"); code != 1 || line != "tool: "+strings.ReplaceAll(want, "DIR", dir) {
			t.Errorf("%s %+v: exit %d, %q", name, opt, code, stderr)
		}
		if computed != (between != nil) {
			t.Errorf("%s %+v: computed: %t", name, opt, computed)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, opt := range []OutputOptions{{}, {Atomic: true}, {Log: true}} {
		check("no/such/out", "open DIR/no/such/out: no such file or directory", opt, nil)
		check("file/out", "stat DIR/file/out: not a directory", opt, nil)
	}
	for _, opt := range []OutputOptions{{}, {Atomic: true}} { // gone while it was computed
		if err := os.Mkdir(filepath.Join(dir, "gone"), 0o777); err != nil {
			t.Fatal(err)
		}
		check("gone/out", "open DIR/gone/out: no such file or directory", opt, func(path string) { os.Remove(filepath.Dir(path)) })
	}
	path := filepath.Join(dir, "out") // what appears meanwhile is kept
	check("out", "open DIR/out: is a directory", OutputOptions{Atomic: true}, func(path string) { os.Mkdir(path, 0o777) })
	if entries, _ := os.ReadDir(path); len(entries) != 0 {
		t.Error(entries)
	}
	for _, err := range []error{&fs.PathError{Op: "write", Path: "x/.out.123", Err: syscall.ENOSPC}, &os.LinkError{Op: "rename", Old: "x/.out.123", New: "x/out", Err: syscall.EXDEV}} {
		o := &Output{Path: "x/out", opt: OutputOptions{Atomic: true}}
		if got := o.named(err); strings.Contains(got.Error(), "123") || !strings.Contains(got.Error(), " x/out: ") || !errors.Is(got, errors.Unwrap(err)) {
			t.Errorf("%v became %v", err, got)
		}
	}
}

func TestOutputAppearsWithTheFirstByte(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	runTool(t, func(env *Env, _ *ucli.Context) error {
		o, err := env.Output(OutputOptions{})
		if err != nil {
			return err
		}
		return o.Close()
	}, "-o", path)
	if _, err := os.Stat(path); err == nil {
		t.Error("a file appeared though nothing was written")
	}
}
