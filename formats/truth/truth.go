package truth

import (
	"errors"
	"io"
	"math/bits"
	"sort"

	"wattrace/sample"
	"wattrace/trace"
)

// Schema is the schema that this package reads and writes.
const Schema = "wattrace.truth/1"

// Header is the first line of a file.
type Header struct {
	Producer string
	Seed     uint64
	Clock    trace.Clock
	Devices  []sample.Device // of which the file has ID, Index and Name; all are Simulated
}

// Step is a change of one device's true power.
type Step struct {
	Device      int        // device_index
	At          trace.Time // from here on
	Microwatts  uint64     // true power from At on; at most MaxMicrowatts
	Microjoules uint64     // true energy from the device's first step to At, rounded down
}

// MaxMicrowatts is the highest power that a step can have: 100 MW.
const MaxMicrowatts = 100_000_000 * 1_000_000

// End is the last line of a whole file.
type End struct {
	At    trace.Time // the last steps hold up to here
	Clean bool       // false: a fault ended the simulator
}

var errOverflow = errors.New("the energy is beyond 2^63 microjoules")

// exact is an exact amount of energy: whole microjoules, and femtojoules
// beyond them. Microwatts times nanoseconds are femtojoules.
type exact struct{ micro, femto uint64 }

const (
	femtoPerMicro = 1_000_000_000
	maxMicro      = 1 << 63
)

// plus adds what a power delivers in so many nanoseconds.
func (e exact) plus(microwatts, nanos uint64) (exact, error) {
	hi, lo := bits.Mul64(microwatts, nanos)
	lo, carry := bits.Add64(lo, e.femto, 0)
	if hi += carry; hi >= femtoPerMicro {
		return exact{}, errOverflow
	}
	whole, rest := bits.Div64(hi, lo, femtoPerMicro)
	if sum := e.micro + whole; sum < whole || sum >= maxMicro {
		return exact{}, errOverflow
	}
	return exact{e.micro + whole, rest}, nil
}

// Truth is a whole file in memory, for looking up.
type Truth struct {
	Header Header
	End    trace.Opt[End] // unknown: the file is incomplete

	series map[string]*series // by device
}

// series holds the steps of one device, in the order of time.
type series struct {
	at         []trace.Time
	microwatts []uint64
	energy     []exact
	end        trace.Time // the last instant that is known
}

// Load reads a file to its end. That it was incomplete is no error: End says
// so, and what is known ends earlier.
func Load(r io.Reader, name string) (*Truth, error) {
	reader, err := NewReader(r, name)
	if err != nil {
		return nil, err
	}
	t := &Truth{Header: *reader.Header(), series: map[string]*series{}}
	byIndex := map[int]*series{}
	for _, d := range t.Header.Devices {
		s := &series{}
		t.series[d.ID], byIndex[d.Index] = s, s
	}
	for {
		var step Step
		if err := reader.Read(&step); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		s := byIndex[step.Device]
		s.at = append(s.at, step.At)
		s.microwatts = append(s.microwatts, step.Microwatts)
		s.energy = append(s.energy, reader.devices[step.Device].energy)
		s.end = step.At
	}
	t.End = reader.End()
	if end, ok := t.End.Get(); ok {
		for _, s := range t.series {
			s.end = end.At
		}
	}
	return t, nil
}

// Energy returns the true energy of a device, by its identity, from its first
// step to an instant, in microjoules rounded down. It is not ok for a device
// or an instant that the file does not know: nothing is extrapolated.
func (t *Truth) Energy(device string, at trace.Time) (microjoules uint64, ok bool) {
	s, i, ok := t.find(device, at)
	if !ok {
		return 0, false
	}
	e, err := s.energy[i].plus(s.microwatts[i], uint64(at-s.at[i]))
	return e.micro, err == nil
}

// Power returns the true power of a device at an instant in watts; ok is as
// Energy's.
func (t *Truth) Power(device string, at trace.Time) (watts float64, ok bool) {
	s, i, ok := t.find(device, at)
	if !ok {
		return 0, false
	}
	return float64(s.microwatts[i]) / 1e6, true
}

// Steps returns how many steps a device has.
func (t *Truth) Steps(device string) int {
	if s, ok := t.series[device]; ok {
		return len(s.at)
	}
	return 0
}

// find returns the step of a device that holds at an instant.
func (t *Truth) find(device string, at trace.Time) (*series, int, bool) {
	s, ok := t.series[device]
	if !ok || at > s.end {
		return nil, 0, false
	}
	i := sort.Search(len(s.at), func(i int) bool { return s.at[i] > at }) - 1
	return s, i, i >= 0
}
