package record

import (
	"fmt"
	"io"
	"strings"
	"time"

	"wattrace/reduce"
	"wattrace/sample"
)

// listLaws prints what reduce will take the power fields of the GPUs for, once
// for all that are alike.
func listLaws(w io.Writer, src *sources) error {
	gpus := map[string][]string{} // by law
	var laws []string
	for _, s := range src.pulled {
		for _, d := range s.Devices() {
			law := lawOf(d, driverOf(d, s.Info()))
			if law == "" {
				continue
			}
			if gpus[law] == nil {
				laws = append(laws, law)
			}
			gpus[law] = append(gpus[law], fmt.Sprint(d.Index))
		}
	}
	var b strings.Builder
	for _, law := range laws {
		fmt.Fprintf(&b, "\nThe power fields of %s, as reduce takes them:\n%s", strings.Join(gpus[law], ", "), law)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// driverOf returns the version of the driver of a device.
func driverOf(d sample.Device, info sample.Info) string {
	if d.Driver != "" {
		return d.Driver
	}
	return info.Driver
}

// lawOf says what reduce's table of sensors has of a GPU's fields, a line each;
// "" if it is none.
func lawOf(d sample.Device, driver string) string {
	if d.Source != sample.NVML || d.Scope != sample.ScopeGPU {
		return ""
	}
	var b strings.Builder
	for _, field := range []reduce.PowerField{reduce.FieldAverage, reduce.FieldInstant} {
		s, ok := reduce.Sensors().Lookup(field, d, driver)
		if !ok {
			continue
		}
		known := "measured"
		if s.Assumed {
			known = "assumed"
		}
		fmt.Fprintf(&b, "  %s: %s (%s)\n", field, lawText(s), known)
	}
	return b.String()
}

// lawText is a sensor in words.
func lawText(s reduce.Sensor) string {
	switch s.Kind {
	case reduce.SensorAverage:
		text := fmt.Sprintf("the mean of %v, every %v", short(s.Window), short(s.Period))
		if s.Rest > s.Period {
			text += fmt.Sprintf(", at rest every %v", short(s.Rest))
		}
		return text
	case reduce.SensorInstant:
		if s.Duty < 1 {
			return fmt.Sprintf("the mean of %v, every %v: it sees %.0f %% of the time", short(s.Window), short(s.Period), 100*s.Duty)
		}
		return fmt.Sprintf("the mean of %v, every %v", short(s.Window), short(s.Period))
	}
	return fmt.Sprintf("follows power as a capacitor's charge does, every %v", short(s.Period))
}

// short is a time without digits that nobody needs.
func short(d time.Duration) time.Duration {
	if d >= 10*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}
