package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// A tool is what its --help says.
type tool struct {
	name, usage string
	version     string
	date        string // of the version, as 2026-11-27
	args        string // what follows the flags
	command     bool   // a command may stand after --
	flags       []option
	exits       string // what its exit statuses mean
}

// An option is a flag.
type option struct {
	names    []string // with their dashes, the long ones first
	value    string   // what it takes, as "FILE"; "" is nothing
	repeated bool
	usage    string
	preset   string   // the default, as the help has it
	words    []string // that the value is one of, if it is
}

// files reports whether the value names a file.
func (o option) files() bool {
	switch o.value {
	case "FILE", "PATH", "DIR", "TRACE":
		return true
	}
	return false
}

var (
	gap     = regexp.MustCompile(` {2,}`)
	preset  = regexp.MustCompile(` ?\(default: "?(.*?)"?\)$`)
	several = regexp.MustCompile(`^(\S+ \S+) \[ .* \]$`)
	listed  = regexp.MustCompile(`: ([a-z0-9_-]+(?:, [a-z0-9_-]+)+)(?:[;(]|$)`)
)

// parseHelp reads the manual of --help, whose form package cli fixes.
func parseHelp(text string) (tool, error) {
	head, rest, ok := strings.Cut(text, "\n\nUsage: ")
	var t tool
	t.name, t.usage, _ = strings.Cut(head, " - ")
	line, rest, _ := strings.Cut(rest, "\n")
	_, t.args, _ = strings.Cut(line, " [flags]")
	t.args = strings.TrimSpace(t.args)
	t.command = strings.Contains(t.args, "--")
	_, rest, found := strings.Cut(rest, "\nFlags:\n")
	flags, rest, ended := strings.Cut(rest, "\n\nExit status: ")
	if !ok || !found || !ended || t.usage == "" {
		return t, errors.New("is no manual")
	}
	t.exits = strings.TrimSpace(rest)
	for line := range strings.SplitSeq(flags, "\n") {
		o, err := parseFlag(strings.TrimSpace(line))
		if err != nil {
			return t, err
		}
		t.flags = append(t.flags, o)
	}
	return t, nil
}

// parseFlag reads a line such as
//
//	--output FILE, -o FILE   write to FILE; - is standard output (default: "-")
func parseFlag(line string) (option, error) {
	var o option
	parts := gap.Split(line, 2)
	if len(parts) != 2 || !strings.HasPrefix(line, "-") {
		return o, fmt.Errorf("%q is no flag", line)
	}
	names := parts[0]
	if m := several.FindStringSubmatch(names); m != nil {
		names, o.repeated = m[1], true
	}
	for name := range strings.SplitSeq(names, ", ") {
		name, value, _ := strings.Cut(name, " ")
		o.names, o.value = append(o.names, name), value
	}
	o.usage = parts[1]
	if m := preset.FindStringSubmatch(o.usage); m != nil {
		o.preset, o.usage = m[1], o.usage[:len(o.usage)-len(m[0])]
	}
	if m := listed.FindStringSubmatch(o.usage); m != nil && o.value != "" {
		o.words = strings.Split(m[1], ", ")
	}
	if strings.Contains(o.value, "|") {
		o.words = strings.Split(o.value, "|")
	}
	return o, nil
}

// versionOf takes the version out of "record (wattrace 0.1.0)".
func versionOf(text string) string {
	_, v, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(text), ")"), "(")
	return v
}
