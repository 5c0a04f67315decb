package plot

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	reducer "wattrace/cmd/internal/reduce"
	"wattrace/formats"
	"wattrace/formats/page"
	"wattrace/formats/report"
	"wattrace/reduce"
)

const manual = `Draws a run: from its request logs and recordings, as reduce takes them and with reduce's
flags, a page with power, requests in flight, tokens per second and per joule over time, the
requests, latencies, and every figure with its method. An interval that is selected on the
page has the energy and tokens that reduce --window says of it. The page is one file that
loads nothing. Reports (reduce --format json) are drawn as far as they go; several make the
page of a sweep. A directory that holds a report.json is that report.

  plot -o report.html requests.jsonl power.arrows
  plot --svg power.svg requests.jsonl power.arrows
  plot -o sweep.html run-*/report.json
  plot -o sweep.svg --title 'Llama 8B on 8 GPUs' run-*/report.json

Exit status 3 says that a report lacks something, as reduce's does.`

// Main runs plot with args (without the program's name) and returns its exit status.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return cli.Main(ctx, cli.Tool{
		Name: "plot", Usage: "a page, or a figure, of a run or of a sweep",
		Args: "[REQUESTS.jsonl|POWER.arrows|SMI.csv|AIPERF_DIR|REPORT.json|-]...", Manual: manual, Output: true,
		Flags: slices.Concat([]ucli.Flag{
			&ucli.StringFlag{Name: "format", Usage: "`FORMAT` of the output: html or svg (default: by the ending of its name, else html)"},
			&ucli.StringFlag{Name: "svg", Usage: "write a figure for papers: `FILE`, or -; a page only if -o is given, too"},
			&ucli.StringFlag{Name: "title", Usage: "`TEXT` above it"},
			&ucli.IntFlag{Name: "steps", Value: 4000, Usage: "follow the run in `N` steps at most"},
		}, reducer.Flags()),
		Action: action,
	}, args, stdin, stdout, stderr)
}

// target is one output.
type target struct {
	path string
	svg  bool
}

func targets(env *cli.Env, c *ucli.Context) ([]target, error) {
	var list []target
	if out := env.OutputPath(); out != "-" || c.String("svg") == "" || c.IsSet("output") {
		t := target{path: out}
		switch format := c.String("format"); format {
		case "":
			t.svg = strings.EqualFold(filepath.Ext(out), ".svg")
		case "html", "svg":
			t.svg = format == "svg"
		default:
			return nil, cli.Usagef("--format %q: want html or svg", format)
		}
		list = append(list, t)
	} else if c.IsSet("format") {
		return nil, cli.Usagef("--format is that of -o, and there is only --svg")
	}
	if path := c.String("svg"); c.IsSet("svg") {
		if path == "" {
			return nil, cli.Usagef("--svg needs the name of a file, or -")
		}
		list = append(list, target{path, true})
	}
	for i, t := range list {
		ext, is := strings.ToLower(filepath.Ext(t.path)), "html"
		if t.svg {
			is = "svg"
		}
		if c.IsSet("format") && i == 0 {
			continue // so it is wanted
		}
		if slices.Contains(otherEndings, ext) || ext == ".html" && t.svg {
			return nil, cli.Hint(cli.Usagef("%s: what is written is %s", t.path, is), "plot writes html and svg; a browser prints both to PDF")
		}
	}
	return list, nil
}

// otherEndings are those of names that promise a format that plot does not write.
var otherEndings = []string{".pdf", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".eps", ".ps", ".json", ".jsonl", ".csv", ".txt", ".md", ".arrows"}

// The steps that a run may be followed in: fewer show nothing, more than a screen has
// pixels many times over fill memory.
const leastSteps, mostSteps = 100, 100_000

func action(_ context.Context, env *cli.Env, c *ucli.Context) error {
	env.Operands = append(env.Operands, env.Command...) // "--" ends the flags: there is no command
	outs, err := targets(env, c)
	if err != nil {
		return err
	}
	if n := c.Int("steps"); n < leastSteps || n > mostSteps {
		return cli.Usagef("--steps %d: want a number from %d to %d", n, leastSteps, mostSteps)
	}
	operands := slices.Clone(env.Operands)
	if len(operands) == 0 {
		if cli.IsTerminal(env.Stdin) {
			return cli.Usagef("no request log, no recording and no report")
		}
		operands = []string{"-"}
	}
	for i, path := range operands {
		operands[i] = reportIn(path)
		env.Reads(operands[i])
	}
	for _, flag := range []string{"topology", "calibration", "sensors"} {
		env.Reads(c.String(flag))
	}
	var files []*cli.Output
	for _, t := range outs {
		f, err := env.OutputTo(t.path, cli.OutputOptions{Atomic: true, Binary: !t.svg})
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	d, err := load(env, c, operands)
	if err != nil {
		return err
	}
	for i, t := range outs {
		if err := d.write(files[i], t.svg, c.String("title")); err != nil {
			for _, f := range files {
				f.Abort()
			}
			return err
		}
	}
	for _, f := range files {
		if err := f.Close(); err != nil {
			return err
		}
	}
	var lacks []string
	for _, r := range d.runs {
		for _, code := range r.Report.Incomplete() {
			if !slices.Contains(lacks, string(code)) {
				lacks = append(lacks, string(code))
			}
		}
	}
	switch {
	case len(lacks) > 0 && len(d.runs) > 1:
		return cli.Incompletef("reports are incomplete: %s", strings.Join(lacks, ", "))
	case len(lacks) > 0:
		return cli.Incompletef("the report is incomplete: %s", strings.Join(lacks, ", "))
	}
	return nil
}

// drawn is what is drawn: one run, or reports of several.
type drawn struct {
	runs   []page.Run
	course *reduce.Course
}

func (d *drawn) write(w io.Writer, svg bool, title string) error {
	switch {
	case len(d.runs) > 1 && svg:
		return page.WriteSweepFigure(w, d.runs, title)
	case len(d.runs) > 1:
		return page.WriteSweep(w, d.runs, page.Options{Title: title})
	case svg && d.course == nil:
		return cli.Hint(errors.New("there is nothing over time to draw"), "a figure of one run needs its request log or its recording: a report has no course")
	case svg:
		return page.CourseFigure(d.runs[0].Report, d.course, title, 800, false).Write(w)
	}
	return page.Write(w, d.runs[0].Report, d.course, page.Options{Title: title})
}

// check refuses a report with figures that nothing can be drawn of.
func check(rep *reduce.Report, name string) error {
	if err := page.Check(rep); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// reportIn returns the report of a directory that holds one; other paths stand for themselves.
func reportIn(path string) string {
	if info, err := os.Stat(path); path != "-" && err == nil && info.IsDir() {
		in := filepath.Join(path, "report.json")
		if info, err := os.Stat(in); err == nil && info.Mode().IsRegular() {
			return in
		}
	}
	return path
}

// load reads reports, or reduces what is none.
func load(env *cli.Env, c *ucli.Context, operands []string) (*drawn, error) {
	d := &drawn{}
	var others []string
	for i, path := range operands {
		if slices.Contains(operands[:i], path) {
			if path == "-" {
				return nil, cli.Usagef("standard input is named twice")
			}
			return nil, cli.Usagef("%s is named twice", path)
		}
	}
	for _, path := range operands {
		in, err := openReport(env, path)
		if err != nil {
			return nil, err
		}
		if in == nil {
			others = append(others, path)
			continue
		}
		rep, err := readReport(in)
		if err != nil {
			return nil, err
		}
		d.runs = append(d.runs, page.Run{Path: path, Report: rep})
	}
	switch {
	case len(others) > 0 && len(d.runs) > 0:
		return nil, cli.Hint(cli.Usagef("%s is a report and %s is none", d.runs[0].Path, others[0]), "either reports, or the logs and recordings of one run")
	case len(others) == 0:
		for _, f := range reducer.Flags() {
			if name := f.Names()[0]; c.IsSet(name) {
				return nil, cli.Hint(cli.Usagef("--%s: a report has its figures already", name), "give the request log and the recording")
			}
		}
		return d, nil
	}
	rep, course, err := reducer.Follow(env, c, others, c.Int("steps"))
	if err != nil {
		return nil, err
	}
	if err := check(rep, strings.Join(others, ", ")); err != nil {
		return nil, err
	}
	d.runs, d.course = []page.Run{{Path: strings.Join(others, ", "), Report: rep}}, course
	return d, nil
}

// openReport opens an operand if it is a report; nil is that it is none. Of what can be read
// only once the beginning is looked at, and standard input then begins again for reduce.
func openReport(env *cli.Env, path string) (*formats.Input, error) {
	if path != "-" {
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			return nil, nil // reduce says what is wrong with it, or takes it
		}
	}
	restore := func() {}
	if path == "-" {
		restore = cli.IgnoreFirstSignal()
	}
	defer restore()
	in, err := formats.Open(path, env.Stdin)
	if err != nil {
		return nil, err
	}
	switch {
	case in.Kind() == formats.Report:
		if path == "-" {
			_, err = in.Reader() // reads it to its end
		}
		return in, err
	case path == "-":
		env.Stdin = in.Stream()
		return nil, nil
	case in.Kind() == formats.Unknown:
		err = damaged(in)
	}
	return nil, errors.Join(err, in.Close())
}

// damaged says what is wrong with a file that by its name is a report, and nothing of
// other files that no program knows.
func damaged(in *formats.Input) error {
	name := strings.TrimSuffix(strings.TrimSuffix(in.Name(), ".gz"), ".zst")
	r, err := in.Reader()
	if err != nil || filepath.Ext(name) != ".json" {
		return nil // reduce says so
	}
	content := bufio.NewReader(r)
	if _, err := content.Peek(1); err != nil {
		return nil
	}
	_, err = report.Read(content, in.Name())
	return cli.Hint(err, "plot takes reports, request logs, recordings and other tools' telemetry")
}

// readReport reads a report and closes it.
func readReport(in *formats.Input) (rep *reduce.Report, err error) {
	defer func() { err = errors.Join(err, in.Close()) }()
	r, err := in.Reader()
	if err != nil {
		return nil, err
	}
	if rep, err = report.Read(r, in.Name()); err == nil && len(rep.Phases) == 0 && len(rep.Stated) == 0 {
		err = fmt.Errorf("%s: has no phase", in.Name())
	}
	if err == nil {
		err = check(rep, in.Name())
	}
	return rep, err
}
