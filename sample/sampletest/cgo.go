//go:build linux && cgo

package sampletest

const cgo = true
