// Package telemetries lists every format that telemetry can come in, once: what
// a program that takes recordings takes.
//
// [Open] gives them all one form. The formats themselves are the packages
// telemetry, nvidiasmi, ... in formats, where they are specified.
package telemetries
