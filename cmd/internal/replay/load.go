package replay

import (
	"math"
	"strconv"
	"strings"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/replay"
	"wattrace/trace"
)

// shape returns the load that the flags ask for, but for its concurrency.
func (o *options) shape() (trace.Load, error) {
	l := o.load
	l.Arrival, l.Order = trace.Arrival(o.arrival), trace.Order(o.order)
	if l.Shape > 0 && l.Arrival == "" {
		l.Arrival = trace.Gamma
	}
	if o.ramp != "" {
		end := l.Rate
		if end == 0 {
			end = float64(o.concurrency)
		}
		from, rest, _ := strings.Cut(o.ramp, ":")
		over, shape, _ := strings.Cut(rest, ":")
		v, err := strconv.ParseFloat(from, 64)
		d, errTime := time.ParseDuration(over)
		if err != nil || errTime != nil || d <= 0 || shape != "" && shape != string(trace.Linear) && shape != string(trace.Exponential) {
			return l, cli.Usagef("--ramp: want FROM:TIME such as 1:30s, or 1:30s:exponential")
		}
		l.Ramp, l.RampShape = []trace.RampPoint{{Value: v}, {At: d, Value: end}}, trace.RampShape(shape)
	}
	if o.cancel != "" {
		share, after, _ := strings.Cut(o.cancel, ":")
		v, err := strconv.ParseFloat(share, 64)
		d, errTime := time.ParseDuration(after)
		if err != nil || errTime != nil || d <= 0 || !(v > 0 && v <= 1) {
			return l, cli.Usagef("--cancel: want SHARE:TIME such as 0.1:2s")
		}
		l.CancelShare, l.CancelAfter = v, d
	}
	return l, nil
}

// shardVariables are where launchers say which of how many processes this one is.
var shardVariables = []struct{ index, count string }{
	{"SLURM_PROCID", "SLURM_NTASKS"},
	{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
	{"JOB_COMPLETION_INDEX", ""}, // of a Kubernetes Job, which does not say how many there are
}

// maxShards is how many a request log may say there are.
const maxShards = 1 << 30

// parseShard reads --shard: I/N, auto, or auto/N.
func parseShard(s string, getenv func(string) string) (replay.Shard, error) {
	if s == "" {
		return replay.Shard{}, nil
	}
	index, count, _ := strings.Cut(s, "/")
	if index == "auto" {
		index = ""
		for _, v := range shardVariables {
			if index = getenv(v.index); index == "" {
				continue
			}
			if count == "" {
				count = getenv(v.count)
			}
			if count == "" {
				return replay.Shard{}, cli.Usagef("--shard auto: %s is %s, and nothing says of how many: give --shard auto/N", v.index, index)
			}
			break
		}
		if index == "" {
			return replay.Shard{}, cli.Usagef("--shard auto: neither Slurm, Open MPI nor Kubernetes says which process this is")
		}
	}
	i, err := strconv.Atoi(index)
	n, errCount := strconv.Atoi(count)
	if err != nil || errCount != nil || i < 0 || n < 1 || i >= n {
		return replay.Shard{}, cli.Usagef("--shard: want I/N with I from 0 to N-1, not %s/%s", index, count)
	}
	if n > maxShards {
		return replay.Shard{}, cli.Usagef("--shard: at most %d clients", maxShards)
	}
	return replay.Shard{Index: i, Count: n}, nil
}

// parseStart reads --start-at.
func parseStart(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if later, ok := strings.CutPrefix(s, "+"); ok {
		if d, err := time.ParseDuration(later); err == nil && d > 0 {
			return now.Add(d).Round(0), nil
		}
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if seconds, errNumber := strconv.ParseFloat(s, 64); err != nil && errNumber == nil && seconds > 0 && seconds < 1e11 {
		whole, part := math.Modf(seconds)
		at, err = time.Unix(int64(whole), int64(part*1e9)), nil
	}
	switch {
	case err != nil:
		return at, cli.Usagef("--start-at: want RFC 3339, Unix seconds, or +30s, not %q", s)
	case !at.After(now):
		return at, cli.Usagef("--start-at: %s is in the past, by %v", s, now.Sub(at).Round(time.Millisecond))
	}
	return at, nil
}
