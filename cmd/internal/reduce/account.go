package reduce

import (
	"fmt"
	"slices"
	"strings"

	"wattrace/formats/telemetries"
	"wattrace/reduce"
	"wattrace/trace"
)

// holes passes on what a recorder could not keep.
func (s *job) holes(t *teleFile) {
	for _, h := range t.account.Holes {
		s.r.Hole(reduce.Hole{
			From: h.From.Add(t.joint.Offset), To: h.To.Add(t.joint.Offset), Rows: h.Rows, Reason: h.Reason, Host: t.head.Clock.Host,
		})
	}
}

// mostMissed is the share of the ticks that may be missed without a word: the readings
// are then a hundredth further apart than was asked for.
const mostMissed = 0.01

// warnTicks warns of devices that were not read as often as they should.
func (s *job) warnTicks(r *recording) {
	var units []telemetries.UnitEnd
	for _, t := range r.files {
		for _, u := range t.account.Units {
			i := slices.IndexFunc(units, func(v telemetries.UnitEnd) bool { return slices.Equal(u.Devices, v.Devices) })
			if i < 0 {
				units = append(units, telemetries.UnitEnd{Devices: u.Devices, Ticks: u.Ticks, Missed: u.Missed})
				continue
			}
			units[i].Ticks += u.Ticks
			units[i].Missed += u.Missed
		}
	}
	for _, u := range units {
		all := u.Ticks + u.Missed
		if float64(u.Missed) <= mostMissed*float64(all) {
			continue
		}
		device := ""
		if len(u.Devices) == 1 {
			device = u.Devices[0]
		}
		what := "all devices"
		if n := len(u.Devices); n > 4 {
			what = fmt.Sprintf("%s and %d more", strings.Join(u.Devices[:3], ", "), n-3)
		} else if n > 0 {
			what = strings.Join(u.Devices, ", ")
		}
		s.r.Warn(reduce.WarnMissedTicks, "", device, "%s: %d of %d readings of %s were not made in time and left out (%.1f %%)",
			hostName(r.files[0].head.Clock), u.Missed, all, what, 100*float64(u.Missed)/float64(all))
	}
}

// timeSync returns what is known of the wall clock that a file has.
func (s *job) timeSync(c trace.Clock) telemetries.TimeSync {
	for _, t := range s.tele {
		if (c.Same(t.head.Clock) || c.SameBoot(t.head.Clock)) && t.head.TimeSync != (telemetries.TimeSync{}) {
			return t.head.TimeSync
		}
	}
	return telemetries.TimeSync{}
}

// byWalls reports whether a file was joined by the wall clocks of two hosts, whose
// difference nobody gave.
func (s *job) byWalls(c trace.Clock, j joint) bool {
	return !j.Exact && !j.given && (c.Host != s.common.Host || c.Host == "")
}

// joinSynchronised makes the uncertainty of two wall clocks no less than what their hosts
// say of them: they were asked when the recordings began, so that it is not less than
// is assumed of hosts that say nothing either.
func (s *job) joinSynchronised() {
	common := s.timeSync(s.common.Clock).MaxError
	widen := func(c trace.Clock, j *joint) {
		if sum := common + s.timeSync(c).MaxError; s.byWalls(c, *j) && sum > trace.HostSpread {
			j.Spread += sum - trace.HostSpread
		}
	}
	for _, t := range s.tele {
		widen(t.head.Clock, &t.joint)
	}
	for _, r := range s.runs {
		widen(r.clocks.Clock, &r.joint)
	}
}

// warnUnsynchronised warns of wall clocks that files were joined by and that nobody keeps.
func (s *job) warnUnsynchronised() {
	var said []string
	warn := func(c trace.Clock) {
		sync := s.timeSync(c)
		if sync.Source == "" || sync.Synchronised || slices.Contains(said, c.Host) {
			return
		}
		said = append(said, c.Host)
		s.r.Warn(reduce.WarnUnsynchronised, "", "", "%s says that its wall clock is not synchronised (%s), and files were joined by it: they may be off by any time",
			hostName(c), sync.Source)
	}
	clocks := func(c trace.Clock, j joint) {
		if s.byWalls(c, j) {
			warn(s.common.Clock)
			warn(c)
		}
	}
	for _, r := range s.runs {
		clocks(r.clocks.Clock, r.joint)
	}
	for _, t := range s.tele {
		clocks(t.head.Clock, t.joint)
	}
}
