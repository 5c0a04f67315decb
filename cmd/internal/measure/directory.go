package measure

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/summary"
)

const summaryFile = "summary.json"

// The names of what measure leaves. --force removes these and nothing else.
var (
	artifactName = regexp.MustCompile(`^(requests\.jsonl|power\.arrows|counter\.(before|after)\.arrows|report\.(json|html)|sweep\.html|summary\.json|table\.txt|plan\.yaml|trace\.jsonl(\.timing)?|server(\.\d+)?\.log|workload\.log|\.(requests|power|report|sweep|summary|plan|trace|table|counter)\..*)$`)
	runName      = regexp.MustCompile(`^(c\d+(-r\d+)?|r\d+)$`)
)

// openDirectory makes the directory, or takes one that may be used, and locks it until
// the process ends. before is the summary that is there with --resume.
func openDirectory(path string, force, resume bool) (before *summary.Summary, unlock func(), err error) {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			dir.Close()
		}
	}()
	unlock = func() { dir.Close() }
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, nil, fmt.Errorf("%s: another measure is at work there", path)
	} // a file system without locks has none
	entries, err := os.ReadDir(path)
	switch {
	case err != nil:
		return nil, nil, err
	case len(entries) == 0:
		return nil, unlock, nil
	case resume:
		before, err = readSummary(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s: there is no %s to resume", path, summaryFile)
		}
		return before, unlock, err
	case !force:
		return nil, nil, errNotEmpty(path)
	}
	return nil, unlock, clean(path)
}

func errNotEmpty(path string) error {
	return cli.Hint(fmt.Errorf("%s: is not empty", path), "--resume goes on with what is not finished, --force replaces what measure left there")
}

// mayUse refuses a directory that openDirectory would refuse for what is in it. It makes
// none.
func mayUse(path string, asItIs bool) error {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0 && !asItIs:
		return errNotEmpty(path)
	}
	return nil
}

// clean removes what measure left in a directory. It removes nothing if there is anything
// else.
func clean(path string) error {
	list, err := leftovers(path)
	if err != nil {
		return err
	}
	for _, name := range list {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// leftovers lists what measure left in a directory, what is in a directory before it. There
// being anything else is an error.
func leftovers(path string) (list []string, err error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		full := filepath.Join(path, e.Name())
		switch {
		case e.IsDir() && runName.MatchString(e.Name()):
			below, err := leftovers(full)
			if err != nil {
				return nil, err
			}
			list = append(append(list, below...), full)
		case !e.IsDir() && artifactName.MatchString(e.Name()):
			list = append(list, full)
		default:
			return nil, fmt.Errorf("%s: is none of measure's files: nothing is removed", full)
		}
	}
	return list, nil
}

func readSummary(dir string) (*summary.Summary, error) {
	path := filepath.Join(dir, summaryFile)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return summary.Read(f, path)
}

func writeSummary(dir string, s *summary.Summary) error {
	return writeWhole(filepath.Join(dir, summaryFile), func(f *os.File) error { return summary.Write(f, s) })
}

// writeWhole writes a file that appears whole or not at all, in the place of one that is
// there.
func writeWhole(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
