package sample

// Source reads the sensors of some devices. Its methods may be called for
// different devices at once, never for one device at once.
type Source interface {
	// Info describes the source.
	Info() Info
	// Devices lists the devices, constant while the source is open.
	Devices() []Device
	// Read reads the fast metrics of a device into row, and with slow the
	// slow ones too. What cannot be read is noted by Row.Fail; nothing else
	// can go wrong, so that one bad device never ends a recording. The call
	// counts as the reading's length, unless Read sets a better one by
	// Row.SetTook, as when only a part of it read the sensors of the fast
	// metrics.
	Read(device int, slow bool, row Row)
	// Close lets go of the devices.
	Close() error
}
