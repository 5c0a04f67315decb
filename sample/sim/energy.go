package sim

import (
	"math/bits"
	"time"
)

// maxMicrowatts bounds what a device may draw, 100 kW, so that the products
// below stay within 128 bits for any time.
const maxMicrowatts = 100_000 * 1_000_000

// energy is an exact amount of energy: whole microjoules, rounded down, and
// the femtojoules beyond them, 0 <= femto < 1e9. Power is in whole microwatts
// and time in whole nanoseconds, whose product is in femtojoules, so that
// nothing is ever rounded and nothing drifts, however many steps there are.
type energy struct {
	micro int64
	femto int64
}

const femtoPerMicro = 1_000_000_000

// plus returns e and what a power delivers in d, which is not negative.
func (e energy) plus(microwatts uint64, d time.Duration) energy {
	hi, lo := bits.Mul64(microwatts, uint64(d))
	lo, carry := bits.Add64(lo, uint64(e.femto), 0)
	whole, rest := bits.Div64(hi+carry, lo, femtoPerMicro)
	return energy{e.micro + int64(whole), int64(rest)}
}

// microjoulesSince returns e-f in microjoules; the rounding is a double's.
func (e energy) microjoulesSince(f energy) float64 {
	return float64(e.micro-f.micro) + float64(e.femto-f.femto)/femtoPerMicro
}
