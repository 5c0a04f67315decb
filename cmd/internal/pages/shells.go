package main

import (
	"fmt"
	"slices"
	"strings"
)

// others are tools whose short names are programs of others, which have completions too.
var others = []string{"convert", "compare", "plot"}

// commands are the names that a completion is for.
func (t tool) commands() []string {
	if slices.Contains(others, t.name) {
		return []string{"wattrace-" + t.name}
	}
	return []string{"wattrace-" + t.name, t.name}
}

// bash returns a completion for bash.
func (t tool) bash() string {
	var b strings.Builder
	var all []string
	fmt.Fprintf(&b, "# %s of %s, for bash\n_wattrace_%s() {\n", t.name, t.version, t.name)
	b.WriteString("\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n")
	b.WriteString("\tCOMPREPLY=()\n")
	if t.command { // what follows -- is another program's
		b.WriteString("\tlocal i\n\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tif [[ ${COMP_WORDS[i]} == -- ]]; then\n" +
			"\t\t\tif declare -F _command_offset >/dev/null; then _command_offset $((i + 1)); else COMPREPLY=($(compgen -c -- \"$cur\")); fi\n\t\t\treturn\n\t\tfi\n\tdone\n")
	}
	b.WriteString("\tcase $prev in\n")
	for _, o := range t.flags {
		all = append(all, o.names...)
		if o.value == "" {
			continue
		}
		fmt.Fprintf(&b, "\t%s)", strings.Join(o.names, "|"))
		switch {
		case len(o.words) > 0:
			b.WriteString(" " + candidates("-W "+quote(strings.Join(o.words, " "))) + ";")
		case o.files():
			b.WriteString(" " + candidates("-f") + ";")
		}
		b.WriteString(" return ;;\n")
	}
	b.WriteString("\tesac\n")
	fmt.Fprintf(&b, "\tif [[ $cur == -* ]]; then %s; return; fi\n", candidates("-W "+quote(strings.Join(all, " "))))
	fmt.Fprintf(&b, "\t%s\n}\n", candidates("-f"))
	fmt.Fprintf(&b, "complete -o filenames -F _wattrace_%s %s\n", t.name, strings.Join(t.commands(), " "))
	return b.String()
}

// candidates is what fills the answer, a line each: names may hold spaces.
func candidates(of string) string { return "mapfile -t COMPREPLY < <(compgen " + of + " -- \"$cur\")" }

// zsh returns a completion for zsh.
func (t tool) zsh() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#compdef %s\n# %s of %s, for zsh\n_arguments -S", strings.Join(t.commands(), " "), t.name, t.version)
	text := strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `:`, `\:`)
	for _, o := range t.flags {
		for _, name := range o.names {
			spec := name
			switch {
			case o.repeated:
				spec = "*" + name
			case len(o.names) > 1:
				spec = "(" + strings.Join(o.names, " ") + ")" + name
			}
			spec += "[" + text.Replace(o.usage) + "]"
			if o.value != "" {
				spec += ":" + text.Replace(o.value) + ":"
				switch {
				case len(o.words) > 0:
					spec += "(" + strings.Join(o.words, " ") + ")"
				case o.files():
					spec += "_files"
				}
			}
			fmt.Fprintf(&b, " \\\n\t%s", quote(spec))
		}
	}
	if t.command {
		fmt.Fprintf(&b, " \\\n\t%s", quote("*::command:_normal"))
	} else {
		fmt.Fprintf(&b, " \\\n\t%s", quote("*:file:_files"))
	}
	return b.String() + "\n"
}

// fish returns a completion for fish.
func (t tool) fish() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s of %s, for fish\n", t.name, t.version)
	for _, command := range t.commands() {
		for _, o := range t.flags {
			fmt.Fprintf(&b, "complete -c %s", command)
			for _, name := range o.names {
				if long, ok := strings.CutPrefix(name, "--"); ok {
					fmt.Fprintf(&b, " -l %s", long)
				} else {
					fmt.Fprintf(&b, " -s %s", name[1:])
				}
			}
			switch {
			case o.value == "":
			case len(o.words) > 0:
				fmt.Fprintf(&b, " -x -a %s", quote(strings.Join(o.words, " ")))
			case o.files():
				b.WriteString(" -r -F")
			default:
				b.WriteString(" -x")
			}
			fmt.Fprintf(&b, " -d %s\n", quote(o.usage))
		}
	}
	return b.String()
}

// quote quotes a word for any of the shells.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
