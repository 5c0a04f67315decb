package reduce

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/report"
	"wattrace/reduce"
)

const manual = `Joins request logs (replay, or another tool's) and recordings (record,
or CSV of nvidia-smi), in any order and number, and reports for every phase of the run its power, energy, tokens
per joule and joules per user, each with its method and uncertainty. "-", or no operand, is standard
input; it is read to its end before the named files are opened. Without a request
log the whole recording is one phase.

  reduce requests.jsonl power.arrows
  reduce --every 10s --window load=1795454856..1795454866.5 requests.jsonl power.arrows
  reduce --format json -o report.json requests.jsonl power.arrows
  reduce --timezone Europe/London --driver 535.54.03 requests.jsonl smi.csv
  reduce --topology topology.yaml --clock-offset node2.arrows=-12ms±1ms requests.jsonl node1.arrows node2.arrows
  reduce artifacts/DIR power.arrows
  reduce --as vllm result.json
  reduce --as inferencex RESULTS_DIR
  reduce --as trtllm result.json energy_metrics-before.json energy_metrics-after.json
  reduce --as srt-slurm JOB_DIR
  reduce --same-boot requests.json requests.json power.arrows
  reduce --check --slo ttft=500ms --topology topology.yaml
  record --for 60s | reduce
  record -- replay -o requests.jsonl --url http://server:8000 trace.jsonl | reduce requests.jsonl -

Logs of other tools: aiperf (profile_export.jsonl, profile_export_raw.jsonl, or the
directory of a run), vllm bench serve, TensorRT-LLM's benchmark_serving, SGLang's
bench_serving, trtllm-bench (--request_json, --report_json), and /perf_metrics of
trtllm-serve, InferenceX's benchmark_serving (or the directory of a run, with its
gpu_metrics.csv and what it published), guidellm. Where their times are since a boot that they do not name --same-boot says
that it is that of the recordings; where they do not say when requests were sent there
is no energy, and the report says so. What they state themselves is given apart.

A figure that cannot be had is left out, with a warning that says why. Exit status
3 says that the report lacks something: failed requests, a phase that the telemetry
does not cover, a device that gave nothing, a file that was cut off.`

// Main runs reduce with args (without the program's name) and returns its exit
// status.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return cli.Main(ctx, cli.Tool{
		Name: "reduce", Usage: "power and energy of each phase of a run, from its request log and telemetry",
		Args: "[REQUESTS.jsonl|POWER.arrows|SMI.csv|AIPERF_DIR|RESULT.json|-]...", Manual: manual, Output: true,
		Flags: slices.Concat([]ucli.Flag{
			&ucli.StringFlag{Name: "format", Value: "text", Usage: "`FORMAT` of the report: text, json, csv or markdown"},
			&ucli.DurationFlag{Name: "every", Usage: "cut every phase into slices of this `TIME`"},
			&ucli.StringFlag{Name: "per-request", Usage: "write the energy of every request: `FILE`, JSON Lines"},
			&ucli.StringSliceFlag{Name: "as", Usage: "add what another `TOOL` would have published: aiperf, trtllm, vllm, sglang, guidellm, inferencex, ..."},
			&ucli.BoolFlag{Name: "explain", Usage: "with --as: what makes the difference from our energy, in joules"},
			&ucli.StringFlag{Name: "truth", Usage: "compare with what simulated devices really drew: `FILE` of simulate --truth"},
			&ucli.BoolFlag{Name: "check", Usage: "check the flags, and the files that they name, and end: no input is opened, which need not be there yet"},
		}, Flags()),
		Action: action,
	}, args, stdin, stdout, stderr)
}

// forms are the forms of a report.
var forms = map[string]func(io.Writer, *reduce.Report) error{
	"text": report.WriteText, "json": report.WriteJSON, "csv": report.WriteCSV, "markdown": report.WriteMarkdown,
}

func action(_ context.Context, env *cli.Env, c *ucli.Context) error {
	write, ok := forms[c.String("format")]
	if !ok {
		return cli.Usagef("--format %q: want text, json, csv or markdown", c.String("format"))
	}
	opt, err := parseOptions(c)
	if err != nil {
		return err
	}
	inputs, err := parseInputs(env, c)
	if err != nil {
		return err
	}
	if c.Bool("check") {
		return check(env, opt, inputs)
	}
	operands := env.Operands
	if len(operands) == 0 {
		if cli.IsTerminal(env.Stdin) {
			return cli.Usagef("no request log and no recording")
		}
		operands = []string{"-"}
	}
	env.Reads(c.String("truth"))
	out, err := env.Output(cli.OutputOptions{Atomic: true})
	if err != nil {
		return err
	}
	opt.inputs = inputs
	rep, err := makeReport(env, operands, opt)
	if err != nil {
		return err
	}
	if err := write(out, rep); err != nil {
		out.Abort()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if lacks := rep.Incomplete(); len(lacks) > 0 {
		return cli.Incompletef("the report is incomplete: %s", join(lacks))
	}
	return nil
}

func join(codes []reduce.Code) string {
	var s []string
	for _, c := range codes {
		s = append(s, fmt.Sprint(c))
	}
	return strings.Join(s, ", ")
}
