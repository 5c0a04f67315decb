package convert

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/logs"
	"wattrace/formats/srtslurm"
	"wattrace/formats/telemetries"
	"wattrace/formats/traces"
)

// A family is what inputs are about, in words that fit into a message.
type family string

const (
	ofTrace     family = "trace"
	ofLog       family = "request log"
	ofRecording family = "recording"
)

var families = []family{ofTrace, ofLog, ofRecording}

// flagsOf are the flags of --to that are for one family alone.
var flagsOf = map[family][]string{
	ofTrace: {
		"model", "target", "endpoint", "no-stream", "from", "from-timing", "block-size", "vocab", "output-tokens", "turns",
		"tokenizer", "as-text", "after", "before", "max-input-tokens", "sample", "seed", "limit", "speedup",
	},
	ofRecording: {"timezone", "host", "columns"},
}

// A form is what an input of a family can be written as with --to.
type form struct {
	of     family
	name   string
	doc    string   // what is written
	lost   string   // what does not get into it; "" is nothing
	binary bool     // not for a terminal, and not inside .zst
	dir    bool     // -o names a directory
	flags  []string // that it takes beyond those of its family
	write  func(*job) error
}

// A job is one run of the tool with --to.
type job struct {
	ctx   context.Context
	env   *cli.Env
	flags *ucli.Context
	o     *options
	form  form
	first *formats.Input // of paths; nil for a directory
	paths []string
}

// open opens an operand. It is closed with the job, if it is the first.
func (j *job) open(path string) (*formats.Input, error) {
	if j.first != nil && path == j.paths[0] {
		return j.first, nil
	}
	return formats.Open(path, &interruptible{ctx: j.ctx, r: j.env.Stdin})
}

// output opens what -o names.
func (j *job) output() (*cli.Output, error) {
	return j.env.Output(cli.OutputOptions{Atomic: true, Binary: j.form.binary, Compress: !j.form.binary})
}

// lost says what did not get into the output.
func (j *job) lost(what string) {
	if what != "" {
		j.env.Summaryf("lost: %s", what)
	}
}

// forms lists every format that is written once.
func forms() []form {
	return slices.Concat(traceForms, logForms, []form{aiperfForm, perfettoOf(ofLog)}, sealForms, []form{perfettoOf(ofRecording)})
}

// formHelp says what --to can be.
func formHelp() string {
	var of []string
	for _, f := range families {
		of = append(of, fmt.Sprintf("%s of a %s", namesOf(formsOf(f)), f))
	}
	return strings.Join(of, "; ")
}

// formsOf returns the forms of a family.
func formsOf(of family) (list []form) {
	for _, f := range forms() {
		if f.of == of {
			list = append(list, f)
		}
	}
	return list
}

// namesOf returns their names.
func namesOf(list []form) string {
	var names []string
	for _, f := range list {
		if !slices.Contains(names, f.name) {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, ", ")
}

// unknownForm says what --to can be.
func unknownForm(name string) error { return cli.Usagef("--to %q: want %s", name, formHelp()) }

// to is the tool with --to.
func to(ctx context.Context, env *cli.Env, flags *ucli.Context, o *options) error {
	if !slices.ContainsFunc(forms(), func(f form) bool { return f.name == o.to }) {
		return unknownForm(o.to)
	}
	if o.list {
		return cli.Usagef("--list takes no --to")
	}
	paths, err := operands(env)
	if err != nil {
		return err
	}
	// A consumer of a pipe reads on after the first signal.
	_, hard, stop := cli.Signals(ctx)
	defer stop()
	j := &job{ctx: hard, env: env, flags: flags, o: o, paths: paths}
	of, err := j.family()
	if j.first != nil {
		defer j.first.Close()
	}
	if err != nil {
		return err
	}
	if err := j.choose(of); err != nil {
		return err
	}
	return j.form.write(j)
}

// operands returns the inputs.
func operands(env *cli.Env) ([]string, error) {
	if len(env.Operands) < 2 {
		path, err := operand(env)
		return []string{path}, err
	}
	if env.Command != nil {
		return nil, cli.Usagef("nothing may follow --")
	}
	for i, path := range env.Operands {
		if slices.Contains(env.Operands[:i], path) {
			return nil, cli.Usagef("%s is named twice", path)
		}
	}
	return env.Operands, nil
}

// family opens the first input and tells what it is.
func (j *job) family() (family, error) {
	path := j.paths[0]
	if info, err := os.Stat(path); path != "-" && err == nil && info.IsDir() {
		if _, _, ok := srtslurm.Find(path); ok {
			return ofRecording, nil
		}
		return ofTrace, nil // a directory of conversations
	}
	in, err := formats.Open(path, &interruptible{ctx: j.ctx, r: j.env.Stdin})
	if err != nil {
		return "", err
	}
	j.first = in
	if j.o.Format != "" {
		return ofTrace, nil
	}
	of, ok := familyOf(in.Kind())
	switch {
	case ok:
		return of, nil
	case in.Kind() == formats.Unknown:
		return "", unknown(in)
	case in.Kind() == formats.Timing:
		return "", cli.Hint(fmt.Errorf("%s: is a %s, which is no input", in.Name(), in.Kind()), "it is read beside its trace, or with --from-timing")
	}
	return "", fmt.Errorf("%s: is a %s, which cannot be converted", in.Name(), in.Kind())
}

func familyOf(kind formats.Kind) (family, bool) {
	if kind == formats.Unknown {
		return "", false
	}
	if _, ok := traces.ByKind(kind); ok {
		return ofTrace, true
	}
	if _, ok := logs.ByKind(kind); ok {
		return ofLog, true
	}
	return ofRecording, isTelemetry(kind)
}

// choose finds the form, and refuses what does not go with it.
func (j *job) choose(of family) error {
	list := formsOf(of)
	i := slices.IndexFunc(list, func(f form) bool { return f.name == j.o.to })
	if i < 0 && j.first == nil {
		return cli.Hint(cli.Usagef("--to %s: %s is a directory, whose conversations become %s", j.o.to, j.paths[0], namesOf(list)), "of a run's directory name the log or the recording in it")
	}
	if i < 0 {
		return cli.Usagef("--to %s: %s is a %s, which becomes %s", j.o.to, j.paths[0], of, namesOf(list))
	}
	j.form = list[i]
	for _, other := range families {
		for _, name := range flagsOf[other] {
			if other != of && j.flags.IsSet(name) && !slices.Contains(j.form.flags, name) {
				return cli.Usagef("--%s is for a %s, and %s is a %s", name, other, j.paths[0], of)
			}
		}
	}
	path := j.env.OutputPath()
	switch {
	case j.flags.IsSet("timing"):
		return cli.Usagef("--timing names the side file that is written, and --to %s writes none; --from-timing names the one to read", j.form.name)
	case j.o.compress && !slices.Contains(j.form.flags, "compress"):
		return cli.Usagef("--compress is for --to arrow; parquet is compressed anyway, a FILE.zst of the others too")
	case j.form.name == "perfetto" && strings.HasSuffix(path, ".zst"):
		return cli.Usagef("-o %s: Perfetto does not open what is inside zstd", path)
	case j.form.binary && strings.HasSuffix(path, ".zst"):
		return cli.Usagef("-o %s: other programs do not open %s inside zstd; parquet is compressed already, arrow with --compress", path, j.form.name)
	case j.form.dir && (path == "-" || path == ""):
		return cli.Usagef("--to %s writes a directory: name it with -o", j.form.name)
	case j.form.dir && strings.HasSuffix(path, ".zst"):
		return cli.Usagef("-o %s: is to be a directory", path)
	}
	return nil
}

// one returns the only input.
func (j *job) one() (string, error) {
	if len(j.paths) > 1 {
		return "", cli.Usagef("--to %s takes one %s at a time, not %d", j.form.name, j.form.of, len(j.paths))
	}
	return j.paths[0], nil
}

// list prints the table of formats.
func list(w io.Writer) error {
	_, err := io.WriteString(w, Table())
	return err
}

// Table returns the table of formats, in Markdown: what goes in, with what is lost of
// it, and what comes out with --to, with what is lost then.
func Table() string {
	var b strings.Builder
	b.WriteString("| of | format | in | becomes | lost | `--to` writes | lost |\n|---|---|---|---|---|---|---|\n")
	for _, of := range families {
		rows := inputsOf(of)
		for _, f := range formsOf(of) {
			i := slices.IndexFunc(rows, func(r row) bool { return r.name == f.name })
			if i < 0 {
				i = len(rows)
				rows = append(rows, row{name: f.name})
			}
			rows[i].out, rows[i].outLost = f.doc, f.lost
		}
		for _, r := range rows {
			fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s | %s | %s |\n", of, r.name, r.in, r.becomes, r.inLost, r.out, r.outLost)
		}
	}
	return b.String()
}

// losses joins what a codec drops of rows, and the rows that it leaves out.
func losses(c traces.Codec) string {
	if c.Lost != "" && c.Omits != "" {
		return c.Lost + "; " + c.Omits
	}
	return c.Lost + c.Omits
}

// row is a row of the table.
type row struct{ name, in, becomes, inLost, out, outLost string }

// inputsOf returns the formats that are read, from the table of each family.
func inputsOf(of family) (rows []row) {
	switch of {
	case ofTrace:
		for _, c := range traces.Codecs {
			rows = append(rows, row{name: c.Name, in: c.In, becomes: c.Out, inLost: losses(c)})
		}
	case ofLog:
		for _, c := range logs.Codecs {
			becomes := "a log of ours"
			if c.Untimed {
				becomes = "for `reduce` alone, since it has no requests with times of a clock"
			}
			rows = append(rows, row{name: c.Name, in: c.Doc, becomes: becomes, inLost: c.Lost})
		}
	case ofRecording:
		for _, c := range telemetries.Codecs {
			rows = append(rows, row{name: c.Name, in: c.Doc, becomes: "rows of a recording", inLost: c.Lost})
		}
		rows = append(rows, row{name: "parquet", in: "what --to parquet wrote, for `convert` alone", becomes: "rows of a recording"})
	}
	return rows
}
