package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// The exit codes of every binary.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitIncomplete  = 3 // finished, but failed requests, lost samples or too little coverage
	ExitInterrupted = 130
)

// ErrInterrupted ends a tool that a signal stopped, after its files were
// closed. It prints nothing: the person who pressed Ctrl-C knows.
var ErrInterrupted = errors.New("interrupted")

type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

// Usagef is a mistake on the command line: exit 2 and a pointer to --help.
func Usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

type incompleteError struct{ err error }

func (e *incompleteError) Error() string { return e.err.Error() }
func (e *incompleteError) Unwrap() error { return e.err }

// Incompletef ends a tool whose output stands but is not whole: exit 3.
func Incompletef(format string, args ...any) error {
	return &incompleteError{fmt.Errorf(format, args...)}
}

type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

// Hint adds a line to err that says what to try.
func Hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hintError{err, fmt.Sprintf(format, args...)}
}

// HintOf returns the line that Hint added, for who prints an error itself; "" is none.
func HintOf(err error) string {
	var hint *hintError
	if errors.As(err, &hint) {
		return hint.hint
	}
	return ""
}

type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// ExitStatus ends a tool with a status and no message, as when it passes on
// the status of a command that it ran.
func ExitStatus(code int) error {
	if code == 0 {
		return nil
	}
	return exitStatus(code)
}

// report prints err the way the package comment says and returns the exit code.
func report(env *Env, err error) int {
	var status exitStatus
	var usage *usageError
	var incomplete *incompleteError
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, ErrInterrupted), errors.Is(err, context.Canceled):
		return ExitInterrupted
	case errors.As(err, &status):
		return int(status)
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		env.Printf("%s", line)
	}
	if hint := HintOf(err); hint != "" {
		env.Printf("hint: %s", hint)
	}
	switch {
	case errors.As(err, &usage):
		env.Printf("hint: see %s --help", env.Tool)
		return ExitUsage
	case errors.As(err, &incomplete):
		return ExitIncomplete
	}
	return ExitFailed
}

// IsIncomplete reports whether an error is one of Incompletef, for who ends with it later.
func IsIncomplete(err error) bool {
	var incomplete *incompleteError
	return errors.As(err, &incomplete)
}
