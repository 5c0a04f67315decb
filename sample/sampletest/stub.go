package sampletest

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// LibraryName is the file name of the stub, that of the real library.
const LibraryName = "libnvidia-ml.so.1"

// StateVariable is the environment variable that tells the stub where the
// state file is.
const StateVariable = "WATTRACE_NVML_STATE"

//go:embed testdata/nvml.c
var stubSource []byte

// Build compiles the stub with gcc into dir and returns its path. With
// OLD_DRIVER among the defines it lacks what old drivers lack.
//
// A process must not load two of them: go-nvml binds its symbols once.
func Build(dir string, defines ...string) (string, error) {
	source := filepath.Join(dir, "nvml.c")
	if err := os.WriteFile(source, stubSource, 0o666); err != nil {
		return "", err
	}
	library := filepath.Join(dir, LibraryName)
	args := []string{"-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-Wl,-soname," + LibraryName, "-o", library}
	for _, d := range defines {
		args = append(args, "-D"+d)
	}
	out, err := exec.Command("gcc", append(args, source)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("gcc: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return library, nil
}

// BuildStub compiles the stub into a directory of the test and returns its
// path. Where the stub cannot be used, for want of gcc or of cgo, it skips the
// test and says why.
func BuildStub(t testing.TB, defines ...string) string {
	t.Helper()
	if reason := Unusable(); reason != "" {
		t.Skip(reason)
	}
	library, err := Build(t.TempDir(), defines...)
	if err != nil {
		t.Fatal(err)
	}
	return library
}

// Unusable says why the stub cannot be used here; "" is that it can.
func Unusable() string {
	if !cgo {
		return "the NVML source needs Linux and cgo"
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		return "the stub of libnvidia-ml needs gcc"
	}
	return ""
}
