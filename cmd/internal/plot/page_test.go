package plot

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/chromedp/chromedp"

	"wattrace/reduce"
)

// hostile are strings that would do something on a page that did not escape them.
var hostile = []string{
	`</script><script>document.title='owned'</script>`, `<img src=x onerror="document.title='owned'">`, "a\u2028b\u2029c", `"><svg onload=alert(1)>`,
	`{{.Title}}`, "]]>&amp;<!--", strings.Repeat("very long ", 5000), `javascript:alert(1)`, "\x1b[31mred", "' onfocus=alert(1) autofocus='",
}

// TestHostileNames: names come out of files. Whatever stands in one shows as text.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i, s := range hostile {
		name := fmt.Sprintf("hostile %d", i)
		at := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(at, 0o777); err != nil {
			t.Fatal(err)
		}
		phase := s
		if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
			phase = "" // the log's reader refuses it
		}
		log, power := generated{gpus: 2, length: 40 * time.Second, requests: 60, host: s, model: s, phase: phase, seed: uint64(i)}.write(t, at)
		code, page, stderr := runMain(t, "--title", s, log, power)
		if code != 0 && code != 3 {
			t.Errorf("%s: exit %d: %s", name, code, stderr)
			continue
		}
		checkPage(t, name, page)
		if len(page) > 600_000 {
			t.Errorf("%s: %d bytes", name, len(page))
		}
		d := dataOf(t, page)
		if phase != "" && len(phase) <= 80 && d.Phases[0].N != phase {
			t.Errorf("%s: the phase is called %q", name, d.Phases[0].N)
		}
		svg := filepath.Join(at, "figure.svg")
		if code, _, stderr := runMain(t, "--svg", svg, "--title", s, log, power); code != 0 && code != 3 {
			t.Errorf("%s: exit %d: %s", name, code, stderr)
		}
		checkSVG(t, name, svg)
		checkSweep(t, name, at, s, reduceTo(t, log, power))
	}
}

// checkSweep draws a report twice, as of two configurations.
func checkSweep(t *testing.T, name, dir, s string, rep *reduce.Report) {
	t.Helper()
	var paths []string
	for i := range 2 {
		rep.Phases[0].Concurrency = i + 1
		rep.Warnings = append(rep.Warnings, reduce.Warning{Code: reduce.Code(s), Message: s, Phase: s, Device: s})
		for k := range rep.Devices {
			rep.Devices[k].Driver = s
		}
		rep.Inputs[0].Path, rep.Inputs[0].Schema = s, s
		rep.Stated = []reduce.Statement{{Tool: s, Path: s, Figures: []reduce.StatedFigure{{Name: s, Unit: s, Value: 1}}}}
		for tag, m := range rep.Phases[0].Metrics {
			if m.Number != nil {
				m.Method = s
			}
			m.Unit = s
			rep.Phases[0].Metrics[tag] = m
		}
		text, err := json.Marshal(rep)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, fmt.Sprintf("r%d.json", i))
		if err := os.WriteFile(path, text, 0o666); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	for _, args := range [][]string{paths, paths[:1]} {
		code, page, stderr := runMain(t, args...)
		if code != 0 && code != 3 {
			t.Errorf("%s: exit %d: %s", name, code, stderr)
			continue
		}
		checkPage(t, name+", reports", page)
	}
	svg := filepath.Join(dir, "sweep.svg")
	if code, _, stderr := runMain(t, append([]string{"-o", svg}, paths...)...); code != 0 && code != 3 {
		t.Errorf("%s: exit %d: %s", name, code, stderr)
	}
	checkSVG(t, name, svg)
}

var (
	scripts  = regexp.MustCompile(`(?s)<script([^>]*)>(.*?)</script>`)
	styles   = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	tags     = regexp.MustCompile(`<[a-zA-Z!][^>]*>`)
	values   = regexp.MustCompile(`="[^"]*"`)
	policies = regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]*)"`)
)

// forbidden are elements and attributes that run or load something, or are styled by
// themselves.
var forbidden = regexp.MustCompile(`(?i)^<(script|img|iframe|object|embed|base|form|video|audio|a|!--)\b| (on[a-z]+|src|srcset|style|action|xlink:href)=`)

// checkPage checks that a page has the scripts and styles that its policy names, and nothing
// else that runs or loads.
func checkPage(t testing.TB, name, page string) {
	t.Helper()
	m := policies.FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("%s: no policy", name)
	}
	policy := strings.NewReplacer("&#39;", "'", "&#43;", "+", "&amp;", "&").Replace(m[1])
	if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") {
		t.Errorf("%s: the policy is %s", name, policy)
	}
	named := func(content string) {
		t.Helper()
		sum := sha256.Sum256([]byte(content))
		if !strings.Contains(policy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
			t.Errorf("%s: the policy does not name %.40q", name, content)
		}
	}
	rest := page
	for _, m := range scripts.FindAllStringSubmatch(page, -1) {
		rest = strings.Replace(rest, m[0], "", 1)
		if m[1] != ` type="application/json" id="data"` {
			named(m[2])
		} else if strings.ContainsAny(m[2], "<>&\u2028\u2029") {
			t.Errorf("%s: the data is not escaped", name)
		}
	}
	for _, m := range styles.FindAllStringSubmatch(page, -1) {
		named(m[1])
		rest = strings.Replace(rest, m[0], "", 1)
	}
	links := 0
	for _, tag := range tags.FindAllString(rest, -1) {
		bare := values.ReplaceAllString(tag, "=")
		if forbidden.MatchString(bare) {
			t.Errorf("%s: the page has %s", name, tag)
		}
		links += strings.Count(bare, "href=")
	}
	if n := links; n != 1 {
		t.Errorf("%s: %d links", name, n)
	}
}

// checkSVG checks that a file is well-formed XML, without anything that runs or loads.
func checkSVG(t testing.TB, name, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := xml.NewDecoder(f)
	paths := 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		switch e.Name.Local {
		case "svg", "g", "rect", "line", "text", "circle", "title":
		case "path":
			paths++
		default:
			t.Errorf("%s: an element %s", name, e.Name.Local)
		}
		for _, a := range e.Attr {
			if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "href" || a.Name.Local == "style" {
				t.Errorf("%s: an attribute %s", name, a.Name.Local)
			}
			if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
				t.Errorf("%s: %s=%q", name, a.Name.Local, a.Value)
			}
		}
	}
	if paths == 0 {
		t.Errorf("%s: nothing is drawn", name)
	}
}

// TestHostileNamesInABrowser: nothing of a name runs.
func TestHostileNamesInABrowser(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	for i, s := range hostile[:6] {
		log, power := generated{gpus: 2, length: 40 * time.Second, requests: 60, host: s, model: s, phase: strings.NewReplacer("\u2028", "", "\u2029", "").Replace(s), seed: uint64(i)}.write(t, t.TempDir())
		path := pageFile(t, "report.html", "--title", s, log, power)
		b.open(path, 1200, "light")
		b.drag("power", 0.3, 0.6)
		if got := eval[string](b, "document.querySelector('h1').textContent"); got != s {
			t.Errorf("the title is %q, not %q", got, s)
		}
		if n := eval[int](b, "document.querySelectorAll('img, iframe').length + document.scripts.length"); n != 3 {
			t.Errorf("%q: %d elements that run", s, n)
		}
		b.do(chromedp.Evaluate("wattrace.show(3, 9)", nil))
		b.clean(path)
	}
}

// TestVendored: uPlot is as its authors published it.
func TestVendored(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
		"uPlot.min.css":     "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
	} {
		text, err := os.ReadFile("../../../formats/page/uplot/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s: %x", name, sum)
		}
		if strings.Contains(string(text), "eval(") || strings.Contains(string(text), "new Function") || strings.Contains(string(text), "fetch(") {
			t.Errorf("%s makes code of text, or loads", name)
		}
	}
}

// TestNoPayload: a page holds nothing of prompts and answers, nor who was asked.
func TestNoPayload(t *testing.T) {
	t.Parallel()
	log, power := generated{gpus: 1, length: 40 * time.Second, requests: 60, host: "h", model: "m", seed: 3}.write(t, t.TempDir())
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(string(text), `"targets":["http://x"]`, `"targets":["http://secret-host"]`, 1)
	edited = strings.Replace(edited, `"overlays":[]`, `"overlays":["system=\"secret-prompt\""]`, 1)
	if strings.Count(edited, "secret") != 2 {
		t.Fatal("the log is not as this test takes it to be")
	}
	if err := os.WriteFile(log, []byte(edited), 0o666); err != nil {
		t.Fatal(err)
	}
	if page := pageOf(t, log, power); strings.Contains(page, "secret") {
		t.Error("the page tells a secret")
	}
}
