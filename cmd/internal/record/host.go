package record

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/nvidiasmi"
	"wattrace/sample"
	"wattrace/sample/amdsmi"
	"wattrace/sample/hwmon"
	"wattrace/sample/rapl"
	"wattrace/sample/smi"
	"wattrace/trace"
)

// openRAPL opens the counters of processors and memory.
func (o *options) openRAPL(_ *cli.Env, s *sources, root string) error {
	source, err := rapl.Open(rapl.Options{Root: root})
	switch {
	case err == nil:
		s.add(source)
		return nil
	case errors.Is(err, fs.ErrPermission):
		return cli.Hint(err, "only root may read them (CVE-2020-8694); until the next boot, this allows it to all: sudo chmod a+r /sys/class/powercap/*rapl*:*/energy_uj; or give record the capability CAP_DAC_READ_SEARCH")
	case errors.Is(err, rapl.ErrNone):
		return cli.Hint(err, "a virtual machine has none; in a container, mount the host's /sys and name its class/powercap with --source rapl:DIRECTORY")
	}
	return err
}

// openHWMon opens the host's power meters.
func (o *options) openHWMon(_ *cli.Env, s *sources, root string) error {
	source, err := hwmon.Open(hwmon.Options{Root: root})
	switch {
	case err == nil:
		s.add(source)
		return nil
	case errors.Is(err, hwmon.ErrNone):
		return cli.Hint(err, "the kernel shows those of Grace and ACPI by its module acpi_power_meter")
	}
	return err
}

// openAMDSMI finds amd-smi.
func (o *options) openAMDSMI(_ *cli.Env, s *sources, program string) error {
	feed, err := amdsmi.New(amdsmi.Options{Program: program}, s.clock)
	if err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			return cli.Hint(err, "ROCm brings it, often as /opt/rocm/bin/amd-smi: --source amd-smi:PROGRAM names it")
		}
		return err
	}
	s.addFeed(feed)
	return nil
}

func newNVIDIASMI(r io.ReadCloser, name string, clock *trace.SteadyClock) sample.Feed {
	return nvidiasmi.NewFeed(r, name, clock)
}

func newDmon(r io.ReadCloser, name string, clock *trace.SteadyClock) sample.Feed {
	return smi.NewDmon(r, name, clock)
}

func newDCGMI(r io.ReadCloser, name string, clock *trace.SteadyClock) sample.Feed {
	return smi.NewDCGMI(r, name, clock)
}

// piped opens what another program writes: standard input, or a named pipe,
// until whose writer comes it waits.
func piped(source string, create func(io.ReadCloser, string, *trace.SteadyClock) sample.Feed) func(*options, *cli.Env, *sources, string) error {
	return func(o *options, env *cli.Env, s *sources, path string) error {
		if path == "-" {
			if err := s.takeStdin(source + ":-"); err != nil {
				return err
			}
			s.addFeed(create(io.NopCloser(env.Stdin), path, s.clock))
			return nil
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			err := cli.Usagef("--source %s:%s: a file does not say when its lines came", source, path)
			if source == "nvidia-smi" {
				return cli.Hint(err, "reduce reads such a log as it is; record takes it from a pipe, --source nvidia-smi:-, while nvidia-smi writes it")
			}
			return cli.Hint(err, "record takes it from a pipe, --source %s:-, while it is written", source)
		}
		if o.checking { // to open a pipe and to close it again would end its writer
			s.addFeed(create(io.NopCloser(strings.NewReader("")), path, s.clock))
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		s.addFeed(create(f, path, s.clock))
		return nil
	}
}
