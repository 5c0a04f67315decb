package compare

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/report"
	"wattrace/reduce"
	"wattrace/reduce/compare"
)

// split parts the operands into groups.
func split(operands []string, axis compare.Axis) (groups [][]string, err error) {
	group := []string{}
	parted, stdin := false, false
	for _, path := range operands {
		if path == "-" && stdin {
			return nil, cli.Usagef("- is named twice: standard input is read once")
		}
		stdin = stdin || path == "-"
		if path == parting {
			groups, group, parted = append(groups, group), nil, true
			continue
		}
		if path == "" {
			return nil, cli.Usagef("an operand is empty")
		}
		group = append(group, path)
	}
	groups = append(groups, group)
	if slices.ContainsFunc(groups, func(g []string) bool { return len(g) == 0 }) {
		if !parted {
			return nil, cli.Hint(cli.Usagef("no reports"), "reduce --format json writes them")
		}
		return nil, cli.Usagef("a group has no report")
	}
	switch {
	case parted || axis != "":
		return groups, nil
	case len(group) == 1:
		return nil, cli.Usagef("one report: with what is it to be compared?")
	case len(group) > 2:
		return nil, cli.Hint(cli.Usagef("%d reports, and no -- that parts them into groups", len(group)), "compare base-*.json -- new-*.json")
	}
	return [][]string{group[:1], group[1:]}, nil
}

// reportIn returns the report of a directory; other paths are reports.
func reportIn(path string) string {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return filepath.Join(path, "report.json")
	}
	return path
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// open reads the reports of all groups.
func open(env *cli.Env, paths [][]string) (groups []compare.Group, err error) {
	type file struct {
		path string
		info fs.FileInfo
	}
	var files []file
	for _, group := range paths {
		g := compare.Group{Name: name(group)}
		for _, path := range group {
			if info, err := os.Stat(path); err == nil {
				for _, f := range files {
					if os.SameFile(f.info, info) {
						return nil, cli.Usagef("%s is named twice", path)
					}
				}
				files = append(files, file{path, info})
			}
			rep, err := readReport(env, path)
			if err != nil {
				return nil, err
			}
			for _, r := range g.Runs {
				if sameInputs(r.Report, rep) {
					return nil, cli.Usagef("%s and %s are of the same run: it is no repeat of itself", r.Path, path)
				}
			}
			g.Runs = append(g.Runs, compare.Run{Path: path, Report: rep})
		}
		groups = append(groups, g)
	}
	for i := range groups { // no two have one name
		for _, other := range groups[:i] {
			if groups[i].Name == other.Name {
				groups[i].Name = fmt.Sprintf("%s (%d)", groups[i].Name, i+1)
			}
		}
	}
	return groups, nil
}

// readReport reads a report, compressed or not.
func readReport(env *cli.Env, path string) (rep *reduce.Report, err error) {
	if dir, base := filepath.Split(path); base == "report.json" && !exists(path) && exists(filepath.Join(dir, "sweep.html")) {
		dir = filepath.Clean(dir)
		return nil, cli.Hint(fmt.Errorf("%s: is a sweep, with no report of its own", dir), "its runs are %s/*/", dir)
	}
	in, err := formats.Open(path, env.Stdin)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	if kind := in.Kind(); kind != formats.Report && kind != formats.Unknown {
		err := fmt.Errorf("%s: %s: compare takes reports", path, kind)
		if kind == formats.Requests || kind == formats.TelemetryStream || kind == formats.TelemetryFile {
			err = cli.Hint(err, "reduce --format json makes one of it")
		}
		return nil, err
	}
	r, err := in.Reader()
	if err != nil {
		return nil, err
	}
	return report.Read(r, path)
}

// sameInputs reports whether two reports were made from the same files.
func sameInputs(a, b *reduce.Report) bool {
	sums := func(r *reduce.Report) (all []string) {
		for _, in := range r.Inputs {
			all = append(all, in.SHA256)
		}
		slices.Sort(all)
		return all
	}
	return len(a.Inputs) > 0 && slices.Equal(sums(a), sums(b))
}

// name names a group: by its only report, or by what the paths of its reports have in
// common.
func name(paths []string) string {
	common := paths[0]
	if len(paths) == 1 {
		if dir, base := filepath.Split(common); base == "report.json" && dir != "" {
			return filepath.Clean(dir)
		}
		return common
	}
	for _, p := range paths[1:] {
		for !strings.HasPrefix(p, common) {
			common = common[:len(common)-1]
		}
	}
	for !utf8.ValidString(common) { // it ends in the middle of a character
		common = common[:len(common)-1]
	}
	if common = strings.TrimRight(common, "-_./ "); common == "" {
		return fmt.Sprintf("%s and %d more", paths[0], len(paths)-1)
	}
	return common
}
