package reduce

import (
	"maps"
	"slices"

	"wattrace/cmd/internal/cli"
	"wattrace/reduce"
)

// check is the tool with --check: what can be wrong before there are inputs. --truth is
// none of it, since it is written during the run.
func check(env *cli.Env, opt options, inputs inputOptions) error {
	opt.inputs = inputs
	s := newJob(opt)
	defer func() {
		for _, in := range s.inputs {
			in.Close()
		}
	}()
	var ro reduce.Options
	if err := s.loadFiles(env, &ro); err != nil {
		return err
	}
	if err := checkOperands(env, &inputs); err != nil {
		return err
	}
	if env.OutputPath() != "-" {
		if _, err := env.Output(cli.OutputOptions{Atomic: true}); err != nil { // which writes nothing yet
			return err
		}
	}
	if opt.perRequest != "" {
		_, err := env.OutputTo(opt.perRequest, cli.OutputOptions{Atomic: true})
		return err
	}
	return nil
}

// checkOperands refuses a flag about a file that will be no input. A directory has files
// that it does not name here.
func checkOperands(env *cli.Env, o *inputOptions) error {
	for _, path := range env.Operands {
		if isDirectory(path) {
			return nil
		}
	}
	if len(env.Operands) == 0 {
		return nil
	}
	for _, named := range []struct {
		flag  string
		files []string
	}{
		{"clock-offset", slices.Sorted(maps.Keys(o.offsets))},
		{"same-boot", slices.Sorted(maps.Keys(o.boots))},
		{"host", slices.Sorted(maps.Keys(o.hosts))},
	} {
		for _, file := range named.files {
			if !slices.Contains(env.Operands, file) {
				return cli.Usagef("--%s: %s is not among the inputs", named.flag, file)
			}
		}
	}
	return nil
}
