package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	ucli "github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// Tool describes one binary.
type Tool struct {
	Name   string      // "replay"
	Usage  string      // one line: what it is for
	Args   string      // the operands, as in "TRACE|DIR|-"
	Manual string      // a few sentences and examples, for --help
	Flags  []ucli.Flag // its own; -q, --progress, --version and --help are added
	Output bool        // it has -o and --force
	// OutputUsage says what -o is, where it is not the result and standard output is
	// none: "leave all in `DIR`".
	OutputUsage string
	Action      func(ctx context.Context, env *Env, c *ucli.Context) error
}

// Env is what a tool sees of the process that it runs in.
type Env struct {
	Tool           string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Quiet          bool
	Operands       []string // what is neither a flag nor after "--"
	Command        []string // what stands after "--"; nil without one

	reads    []string // inputs that are no operands
	progress string
	force    bool
	output   string
	written  []string    // outputs that were opened
	mu       *sync.Mutex // guards Stderr and status
	status   int         // width of the progress line that is on the terminal
}

// Main runs a tool: it parses args (without the program's name), calls the
// action, prints its error and returns the exit code.
func Main(ctx context.Context, tool Tool, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	env := &Env{Tool: tool.Name, Stdin: stdin, Stdout: stdout, Stderr: stderr, mu: new(sync.Mutex)}
	return report(env, run(ctx, env, tool, args))
}

// Exec runs main with the process's arguments and streams, and exits.
func Exec(main func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int) {
	os.Exit(main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

const helpTemplate = `{{.Name}} - {{.Usage}}

Usage: {{.Name}} [flags] {{.ArgsUsage}}
{{if .Description}}
{{.Description}}
{{end}}
Flags:
{{range .Metadata.flags}}  {{.}}
{{end}}
Exit status: 0 ok, 1 failed, 2 usage, 3 finished but incomplete, 130 interrupted.
`

func run(ctx context.Context, env *Env, tool Tool, args []string) error {
	flags := slices.Clone(tool.Flags)
	if tool.Output {
		usage, value := "write to `FILE`; - is standard output", "-"
		if tool.OutputUsage != "" {
			usage, value = tool.OutputUsage, ""
		}
		flags = append(flags,
			&ucli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: usage, Value: value, Destination: &env.output},
			&ucli.BoolFlag{Name: "force", Usage: "replace an existing file", Destination: &env.force})
	}
	flags = append(flags,
		&ucli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress, no summary", Destination: &env.Quiet},
		&ucli.StringFlag{Name: "progress", Usage: "how to show progress: `auto|plain|none`", Value: "auto", Destination: &env.progress})

	flags = append(flags,
		&ucli.BoolFlag{Name: "version", Usage: "print the version"},
		&ucli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "print this"}) // urfave's own is a global, which Apply writes to

	flagArgs, err := env.split(flags, args)
	if err != nil {
		return err
	}
	out := &heeded{Writer: env.Stdout}
	app := &ucli.App{
		Name: tool.Name, Usage: tool.Usage, ArgsUsage: tool.Args, Description: strings.TrimSpace(tool.Manual),
		Flags: flags, Version: Version, HideHelp: true, HideHelpCommand: true, DisableSliceFlagSeparator: true,
		CustomAppHelpTemplate: helpTemplate, Metadata: map[string]any{"flags": flagLines(flags)},
		Reader: env.Stdin, Writer: out, ErrWriter: env.Stderr,
		ExitErrHandler: func(*ucli.Context, error) {},
		OnUsageError:   func(_ *ucli.Context, err error, _ bool) error { return Usagef("%s", err) },
		Action: func(c *ucli.Context) error {
			switch {
			case c.Bool("help"):
				return ucli.ShowAppHelp(c)
			case c.Bool("version"):
				_, err := fmt.Fprintf(env.Stdout, "%s (%s)\n", tool.Name, Producer())
				return err
			}
			if !slices.Contains([]string{"auto", "plain", "none"}, env.progress) {
				return Usagef("--progress %q: want auto, plain or none", env.progress)
			}
			return tool.Action(c.Context, env, c)
		},
		HideVersion: true,
	}
	err = app.RunContext(ctx, append([]string{tool.Name}, flagArgs...))
	return cmp.Or(err, out.err)
}

// heeded keeps the error of a writer, which urfave drops when it prints the manual.
type heeded struct {
	io.Writer
	err error
}

func (w *heeded) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.err = cmp.Or(w.err, err)
	return n, err
}

// flagLines returns the lines of the help text. A default that is false or zero stands for
// a flag that was not given, mostly for no limit, and is not shown.
func flagLines(flags []ucli.Flag) (lines []string) {
	for _, f := range flags {
		if v, ok := f.(ucli.VisibleFlag); ok && !v.IsVisible() {
			continue
		}
		line := f.String()
		for _, nothing := range []string{"false", "0", "0s"} {
			line = strings.TrimRight(strings.TrimSuffix(line, "(default: "+nothing+")"), " ")
		}
		lines = append(lines, line)
	}
	return lines
}

// split parts args into the flags, which it returns, and the operands and the
// command, which it puts into env. urfave/cli, as package flag, would take every
// argument after the first operand for an operand.
func (env *Env) split(flags []ucli.Flag, args []string) ([]string, error) {
	takesValue := map[string]bool{}
	var names []string
	for _, f := range flags {
		d, ok := f.(ucli.DocGenerationFlag)
		for _, name := range f.Names() {
			takesValue[name] = ok && d.TakesValue()
			names = append(names, name)
		}
	}
	var out []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			env.Command = slices.Clone(args[i+1:])
			if env.Command == nil {
				env.Command = []string{}
			}
			break
		}
		if arg == "-" || !strings.HasPrefix(arg, "-") {
			env.Operands = append(env.Operands, arg)
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		takes, known := takesValue[name]
		if !known {
			return nil, unknownFlag(arg, name, names)
		}
		out = append(out, arg)
		if takes && !hasValue {
			if i+1 == len(args) {
				return nil, Usagef("%s needs a value", arg)
			}
			i++
			out = append(out, args[i])
		}
	}
	return out, nil
}

func unknownFlag(arg, name string, names []string) error {
	best, distance := "", 3
	for _, n := range names {
		if d := EditDistance(name, n); d < distance && len(n) > 1 {
			best, distance = n, d
		}
	}
	shown, _, _ := strings.Cut(arg, "=")
	err := Usagef("unknown flag %s", shown)
	if best != "" {
		err = Hint(err, "did you mean --%s?", best)
	}
	return err
}

// EditDistance is Levenshtein's: how many bytes have to be put in, left out or replaced to
// make b of a.
func EditDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Inputs returns the operands and what Reads noted.
func (env *Env) Inputs() []string { return slices.Concat(env.reads, env.Operands) }

// Reads notes an input that is no operand, so that no output replaces it.
func (env *Env) Reads(path string) {
	if path != "" {
		env.reads = append(env.reads, path)
	}
}

// Printf writes "tool: message" to standard error.
func (env *Env) Printf(format string, args ...any) {
	env.mu.Lock()
	defer env.mu.Unlock()
	env.clearStatus()
	fmt.Fprintf(env.Stderr, "%s: %s\n", env.Tool, fmt.Sprintf(format, args...))
}

// Summaryf is Printf for what -q silences.
func (env *Env) Summaryf(format string, args ...any) {
	if !env.Quiet {
		env.Printf(format, args...)
	}
}

// IsTerminal reports whether a stream is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
