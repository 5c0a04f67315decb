package replay

import "syscall"

const (
	errTooManyFiles = syscall.EMFILE
	errNoPorts      = syscall.EADDRNOTAVAIL
)
