package reduce

import (
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // --timezone, on machines without a zone database

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/calibration"
	"wattrace/formats/sensors"
	"wattrace/formats/topology"
	"wattrace/reduce"
)

// inputOptions say what the inputs do not.
type inputOptions struct {
	location    *time.Location         // of local times; nil is this machine's
	deviceName  string                 // of devices without one
	driver      string                 // of recordings that do not say it
	columns     string                 // the header of a log of nvidia-smi that has none
	hosts       map[string]string      // by file
	offsets     map[string]clockOffset // by file
	boots       map[string]string      // recording of the boot of a log, by log; "" is that of all recordings
	sensors     string                 // path of a file, "" where there is none
	calibration string
	topology    string
}

// flagOf names the flags that take a kind of file.
var flagOf = map[formats.Kind]string{
	formats.Topology: "--topology", formats.Calibration: "--calibration", formats.Sensors: "--sensors", formats.Truth: "--truth",
}

// inputFlags are the flags that parseInputs reads.
func inputFlags() []ucli.Flag {
	return []ucli.Flag{
		&ucli.StringFlag{Name: "topology", Usage: "which GPUs should be there, and their roles: `FILE` (wattrace.topology/1)"},
		&ucli.StringFlag{Name: "calibration", Usage: "gains and offsets of the sensors: `FILE` (wattrace.calibration/1)"},
		&ucli.StringFlag{Name: "sensors", Usage: "what the power fields show, before the built-in table: `FILE` (wattrace.sensors/1)"},
		&ucli.StringSliceFlag{Name: "clock-offset", Usage: "add a time to all times of a file: `FILE=TIME`, or FILE=TIME±TIME with its uncertainty"},
		&ucli.StringSliceFlag{Name: "same-boot", Usage: "a log whose times are since a boot that it does not name was written on the boot of the recordings: `LOG`, or LOG=RECORDING"},
		&ucli.StringFlag{Name: "timezone", Usage: "where the local times of nvidia-smi's logs are local: an IANA `NAME` such as Europe/London", DefaultText: "this machine's"},
		&ucli.StringFlag{Name: "device-name", Usage: "product `NAME` of devices whose recording does not say it"},
		&ucli.StringFlag{Name: "driver", Usage: "`VERSION` of the driver, where a recording does not say it"},
		&ucli.StringFlag{Name: "columns", Usage: "the header of logs of nvidia-smi that have none (noheader): `LIST` that --query-gpu was given"},
		&ucli.StringSliceFlag{Name: "host", Usage: "the host of a file that does not say it: `FILE=NAME`"},
	}
}

func parseInputs(env *cli.Env, c *ucli.Context) (o inputOptions, err error) {
	o = inputOptions{
		deviceName: c.String("device-name"), driver: c.String("driver"), columns: c.String("columns"), hosts: map[string]string{}, offsets: map[string]clockOffset{}, boots: map[string]string{},
		sensors: c.String("sensors"), calibration: c.String("calibration"), topology: c.String("topology"),
	}
	for _, s := range c.StringSlice("same-boot") {
		log, recording, _ := strings.Cut(s, "=")
		if _, twice := o.boots[log]; twice || log == "" {
			return o, cli.Usagef("--same-boot %q: want LOG or LOG=RECORDING, each log once", s)
		}
		o.boots[log] = recording
	}
	if name := c.String("timezone"); name != "" {
		if o.location, err = time.LoadLocation(name); err != nil || name == "Local" {
			return o, cli.Usagef("--timezone %q: want the IANA name of a zone, as in Europe/London or UTC", name)
		}
	}
	if d := o.driver; d != "" && (d[0] < '1' || d[0] > '9') {
		return o, cli.Usagef("--driver %q: want a version, as in 535.54.03", d)
	}
	for _, s := range c.StringSlice("host") {
		file, host, ok := strings.Cut(s, "=")
		if !ok || file == "" || host == "" {
			return o, cli.Usagef("--host %q: want FILE=NAME", s)
		}
		o.hosts[file] = host
	}
	for _, s := range c.StringSlice("clock-offset") {
		file, offset, err := parseClockOffset(s)
		if err != nil {
			return o, err
		}
		if _, twice := o.offsets[file]; twice {
			return o, cli.Usagef("--clock-offset: %s is named twice", file)
		}
		o.offsets[file] = offset
	}
	for _, path := range []string{o.sensors, o.calibration, o.topology} {
		env.Reads(path)
	}
	return o, nil
}

// checkNamed checks that flags name files that are there.
func (s *job) checkNamed() error {
	o := &s.opt.inputs
	known := map[string]bool{s.opt.truth: true}
	for _, in := range s.inputs {
		known[in.Name()] = true
	}
	for _, file := range slices.Sorted(maps.Keys(o.offsets)) {
		if !known[file] {
			return cli.Usagef("--clock-offset: %s is not among the inputs", file)
		}
	}
	for _, file := range slices.Sorted(maps.Keys(o.boots)) {
		if !slices.ContainsFunc(s.logs, func(l *logFile) bool { return l.in.Name() == file && l.boot }) {
			return cli.Usagef("--same-boot: %s is not among the logs whose times are since a boot that they do not name", file)
		}
	}
	for _, file := range slices.Sorted(maps.Keys(o.hosts)) {
		if !slices.ContainsFunc(s.tele, func(t *teleFile) bool { return t.in.Name() == file && t.codec.Nameless }) {
			return cli.Usagef("--host: %s is not among the inputs that do not name their host", file)
		}
	}
	return nil
}

// loadFiles reads the files that flags name.
func (s *job) loadFiles(env *cli.Env, o *reduce.Options) error {
	return firstError(
		loadFile(s, env, s.opt.inputs.sensors, sensors.Schema, sensors.Read, (*[]reduce.SensorRow)(&o.Sensors)),
		loadFile(s, env, s.opt.inputs.calibration, calibration.Schema, calibration.Read, &o.Calibration),
		loadFile(s, env, s.opt.inputs.topology, topology.Schema, topology.Read, &o.Topology),
	)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// loadFile reads a file into dst and notes that the report was made from it.
func loadFile[L ~[]E, E any](s *job, env *cli.Env, path, schema string, read func(io.Reader, string) (L, error), dst *[]E) error {
	if path == "" {
		return nil
	}
	for _, in := range s.inputs {
		if in.Name() == path {
			return cli.Usagef("%s is named twice", path)
		}
	}
	in, err := formats.Open(path, env.Stdin)
	if err != nil {
		return err
	}
	s.inputs, s.schemas[in] = append(s.inputs, in), schema
	r, err := in.Reader()
	if err != nil {
		return err
	}
	list, err := read(r, in.Name())
	if err != nil {
		return err
	}
	*dst = list
	return nil
}
