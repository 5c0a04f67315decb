package script

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/compare"
	"wattrace/cmd/internal/convert"
	"wattrace/cmd/internal/measure"
	"wattrace/cmd/internal/monitor"
	"wattrace/cmd/internal/plot"
	"wattrace/cmd/internal/record"
	"wattrace/cmd/internal/reduce"
	"wattrace/cmd/internal/replay"
	"wattrace/cmd/internal/simulate"
	"wattrace/replay/replaytest"
	"wattrace/sample/sampletest"
)

var update = flag.Bool("update", false, "rewrite the files that scripts compare with")

// TestMain makes the test binary stand for every tool, so that the scripts run
// them as processes, with signals, pipes and exit codes.
func TestMain(m *testing.M) {
	flag.Set("test.parallel", "4") // they wait more than they compute; -parallel says otherwise
	testscript.Main(m, map[string]func(){
		"compare":  func() { cli.Exec(compare.Main) },
		"convert":  func() { cli.Exec(convert.Main) },
		"measure":  func() { cli.Exec(measure.Main) },
		"monitor":  func() { cli.Exec(monitor.Main) },
		"plot":     func() { cli.Exec(plot.Main) },
		"record":   func() { cli.Exec(record.Main) },
		"reduce":   func() { cli.Exec(reduce.Main) },
		"replay":   func() { cli.Exec(replay.Main) },
		"simulate": func() { cli.Exec(simulate.Main) },
	})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	stub, stubErr := sampletest.Build(t.TempDir())
	faulty := replaytest.Listen(t)
	refused, resetting := replaytest.Refused(t), replaytest.ResetOnAccept(t)
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join(root, "testdata", "script"),
		UpdateScripts:       *update,
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Values[recorderKey{}] = new(*replaytest.Recorder)
			env.Setenv("ROOT", root)
			env.Setenv("STUB", stub)
			env.Setenv("FAULTY", faulty.URL)
			env.Setenv("REFUSED", refused)
			env.Setenv("RESETTING", resetting.URL)
			env.Setenv("WATTRACE_NVML_STATE", filepath.Join(env.WorkDir, "nvml.state"))
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "nvml": // the driver's library can be stood in for
				return stubErr == nil && sampletest.Unusable() == "", nil
			case "tmpfs": // one can be mounted, in a mount namespace of its own
				dir := t.TempDir()
				return exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", dir).Run() == nil, nil
			case "bash":
				_, err := exec.LookPath("bash")
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"waitfile": waitFile,
			"waitline": waitLine,
			"envfile":  envFile,
			"measured": measured,
			"gone":     gone,
			"recorder": recorder,
			"received": received,
		},
	})
}

// recorderKey is where a script keeps its newest recorder.
type recorderKey struct{}

// recorder starts a server that keeps what it gets, and sets a variable to its
// URL.
func recorder(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: recorder NAME")
	}
	r := replaytest.NewRecorder()
	ts.Defer(r.Close)
	ts.Setenv(args[0], r.URL)
	*ts.Value(recorderKey{}).(**replaytest.Recorder) = r
}

// received writes the bodies that the newest recorder got, one a line.
func received(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: received FILE")
	}
	var b []byte
	for _, r := range (*ts.Value(recorderKey{}).(**replaytest.Recorder)).Received() {
		b = append(append(b, r.Body...), '\n')
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o666))
}

// waitFile waits until a file has something in it.
func waitFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitfile FILE")
	}
	for start := time.Now(); time.Since(start) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		if info, err := os.Stat(ts.MkAbs(args[0])); err == nil && info.Size() > 0 {
			return
		}
	}
	ts.Fatalf("%s: still empty after 30 s", args[0])
}

// waitLine waits until a file has a match of a regular expression.
func waitLine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitline FILE REGEXP")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	for start := time.Now(); time.Since(start) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && re.Match(b) {
			return
		}
	}
	ts.Fatalf("%s: no match of %s after 30 s", args[0], args[1])
}

// envFile sets a variable to the content of a file.
func envFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: envfile NAME FILE")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}
