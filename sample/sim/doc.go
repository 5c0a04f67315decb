// Package sim holds simulated devices: a power model that follows the batch of
// an LLM server, sensors that err as real ones do, and the exact energy that
// no real device can tell.
//
// A [Device] lives in time alone. Its true power is piecewise constant, in
// whole microwatts, set by [Device.SetPower] or, through the power model, by
// [Device.SetWork]; its true energy ([Device.Energy]) is an exact integer.
// [Device.Read] shows what its sensors make of that:
//
//   - The energy counter moves only every 100 ms or so, by whole millijoules,
//     and does not begin at zero. Each device has a phase and a period of its
//     own, within 0.5 % of the nominal one, and its ticks jitter.
//   - The instant field is the mean over a window before each of its ticks. On
//     GH100 and GA100 the window is 25 ms of every 100: the rest is not seen.
//   - The average field follows the law that recordings beside a power meter
//     show: at each tick, the energy since the latest tick at least 1.05 s
//     older, over that time, which is normally 1.1 s. That an idle card may
//     update only once a second is left out.
//   - GA100 and Volta have no average field.
//   - All of them share one gain and one offset error ([SensorError]).
//
// Nothing reads a clock and nothing runs by itself: the same seed and the same
// calls give the same readings, whenever and wherever.
//
// A simulated device says so in its name and in sample.Device.Simulated.
package sim
