// Package script runs the end-to-end scripts in testdata/script: each is a
// session of real binaries that can be read aloud (package testscript of
// github.com/rogpeppe/go-internal describes the language).
package script
