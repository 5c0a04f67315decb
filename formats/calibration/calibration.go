package calibration

import (
	"fmt"
	"io"
	"strconv"

	"wattrace/formats/strictyaml"
	"wattrace/reduce"
	"wattrace/sample"
)

// Schema is the schema that this package reads and writes.
const Schema = "wattrace.calibration/1"

// The ranges of values; see the package comment.
const (
	minGain, maxGain = 0.5, 2.0
	maxGainSigma     = 0.5
	maxOffset        = 100.0 // watts
)

// Read reads a whole calibration. Errors of the file are *trace.SyntaxError with
// the position of what is wrong; name is the file's.
func Read(r io.Reader, name string) ([]reduce.Calibration, error) {
	f := file{File: strictyaml.File{Name: name, What: "a calibration", Schema: Schema}, seen: map[subject]bool{}}
	body, err := f.Read(r, func(key string, value strictyaml.Node) error {
		if key != "devices" {
			return strictyaml.ErrUnknown
		}
		nodes, err := f.List(key, value)
		for _, n := range nodes {
			if err == nil {
				err = f.device(n)
			}
		}
		return err
	})
	if err == nil && len(f.list) == 0 {
		err = f.Errorf(body, "the calibration has no devices")
	}
	if err != nil {
		return nil, err
	}
	return f.list, nil
}

// subject is what a calibration is of.
type subject struct{ device, metric string }

// file is the file being read.
type file struct {
	strictyaml.File
	list []reduce.Calibration
	seen map[subject]bool
}

func (f *file) device(n strictyaml.Node) error {
	var c reduce.Calibration
	given := map[string]bool{}
	err := f.Object(n, "a device", func(key string, v strictyaml.Node) (err error) {
		given[key] = true
		switch key {
		case "device":
			c.Device, err = f.Text(key, v)
		case "metric":
			c.Field, err = f.Choice(key, v, metrics()...)
		case "gain":
			c.Gain, err = f.Number(key, v, func(x float64) bool { return x > minGain && x < maxGain },
				fmt.Sprintf("above %v and below %v", minGain, maxGain))
		case "gain_sigma":
			c.GainSigma, err = f.Number(key, v, func(x float64) bool { return x >= 0 && x < maxGainSigma },
				fmt.Sprintf("of at least 0 and below %v", maxGainSigma))
		case "offset_watts":
			c.OffsetWatts, err = f.Number(key, v, func(x float64) bool { return x >= -maxOffset && x <= maxOffset },
				fmt.Sprintf("from %v to %v", -maxOffset, maxOffset))
		case "offset_sigma_watts":
			c.OffsetSigma, err = f.Number(key, v, func(x float64) bool { return x >= 0 && x <= maxOffset },
				fmt.Sprintf("from 0 to %v", maxOffset))
		default:
			return strictyaml.ErrUnknown
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, key := range []string{"device", "gain", "gain_sigma"} {
		if !given[key] {
			return f.Errorf(n, "the device has no %s", key)
		}
	}
	what := subject{c.Device, c.Field}
	if f.seen[what] {
		return f.Errorf(n, "%s is calibrated twice", c.Device)
	}
	f.seen[what] = true
	f.list = append(f.list, c)
	return nil
}

// metrics are those that a calibration can be of.
func metrics() (names []string) {
	for _, id := range []sample.MetricID{sample.PowerWatts, sample.PowerAverageWatts, sample.PowerInstantWatts, sample.EnergyJoules} {
		names = append(names, id.String())
	}
	return names
}

// Write writes a calibration as a file.
func Write(w io.Writer, list []reduce.Calibration) error {
	b := []byte("schema: " + Schema + "\ndevices:\n")
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	for _, c := range list {
		b = fmt.Appendf(b, "  - device: %s\n", strictyaml.Quote(c.Device))
		if c.Field != "" {
			b = fmt.Appendf(b, "    metric: %s\n", c.Field)
		}
		b = fmt.Appendf(b, "    gain: %s\n    gain_sigma: %s\n", number(c.Gain), number(c.GainSigma))
		b = fmt.Appendf(b, "    offset_watts: %s\n    offset_sigma_watts: %s\n", number(c.OffsetWatts), number(c.OffsetSigma))
	}
	_, err := w.Write(b)
	return err
}
