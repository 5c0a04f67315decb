// Package sysfs reads the attributes of Linux's sysfs, files that hold one value
// each (https://docs.kernel.org/filesystems/sysfs.html), for the sources that
// have their sensors there.
package sysfs

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Number reads the number, below 2^63, that an open attribute holds now. status
// is "" or why there is none, as in a row's status.
func Number(f *os.File) (v uint64, status string) {
	var b [32]byte
	n, err := f.ReadAt(b[:], 0)
	if n == 0 {
		return 0, Status(err)
	}
	v, err = strconv.ParseUint(strings.TrimSpace(string(b[:n])), 10, 63)
	if err != nil {
		return 0, "NOT_A_NUMBER"
	}
	return v, ""
}

// Status is the status of an error of the file system.
func Status(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "NO_PERMISSION"
	case errors.Is(err, fs.ErrNotExist):
		return "NOT_FOUND"
	case errors.Is(err, syscall.ENODATA):
		return "NO_DATA"
	}
	return "IO_ERROR"
}
