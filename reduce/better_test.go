package reduce

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"
)

// Every tag of report.go has a way to be better, and the table has no other.
func TestEveryTagIsBetterSomeWay(t *testing.T) {
	t.Parallel()
	f, err := parser.ParseFile(token.NewFileSet(), "report.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, decl := range f.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok || d.Tok != token.CONST || len(d.Specs) < 50 { // the constants of tags
			continue
		}
		for _, spec := range d.Specs {
			value := spec.(*ast.ValueSpec).Values[0].(*ast.BasicLit)
			tag, err := strconv.Unquote(value.Value)
			if err != nil {
				t.Fatal(err)
			}
			n++
			if _, ok := better[tag]; !ok {
				t.Errorf("%s: the table does not say which way it is better", tag)
			}
		}
	}
	if n != len(better) || n < 50 {
		t.Errorf("%d tags in report.go, %d in the table", n, len(better))
	}
}

func TestBetterOf(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]Better{
		OutputTokensPerJoule: Higher, TotalGPUEnergy: Lower, GPUTemperature: Neither,
		"total_cpu_package_energy": Lower, "average_module_power": Lower, "throttled_time_sw_power_cap": Neither,
	} {
		if got, ok := BetterOf(tag); !ok || got != want {
			t.Errorf("%s: %v, %v", tag, got, ok)
		}
	}
	for _, tag := range []string{"", "energy", "total__energy", "throttled"} {
		if _, ok := BetterOf(tag); ok {
			t.Errorf("%q is a tag", tag)
		}
	}
}
