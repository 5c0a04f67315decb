package plot

import (
	"bytes"
	"context"
	"fmt"
	"image"
	_ "image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"wattrace/reduce"
)

// browser is a tab of a Chromium that may load nothing.
type browser struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex
	requests []string
	faults   []string
}

// newBrowser starts Chromium, where there is one.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "headless-shell"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("no chromium (make setup installs it)")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(time.Minute))
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, func(ev any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch ev := ev.(type) {
		case *network.EventRequestWillBeSent:
			b.requests = append(b.requests, ev.Request.URL)
		case *runtime.EventExceptionThrown:
			b.faults = append(b.faults, ev.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			b.faults = append(b.faults, fmt.Sprint("console: ", ev.Type, " ", len(ev.Args)))
		case *log.EventEntryAdded:
			b.faults = append(b.faults, fmt.Sprintf("%s: %s", ev.Entry.Level, ev.Entry.Text))
		case *cdppage.EventJavascriptDialogOpening:
			b.faults = append(b.faults, "a dialog: "+ev.Message)
		}
	})
	b.do(network.Enable(), log.Enable(), network.SetBlockedURLs().WithURLPatterns([]*network.BlockPattern{{URLPattern: "http://*:*/*", Block: true}, {URLPattern: "https://*:*/*", Block: true}}))
	return b
}

func (b *browser) do(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// open shows a file in a window of a width.
func (b *browser) open(path string, width int64, scheme string) {
	b.t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		b.t.Fatal(err)
	}
	b.do(
		emulation.SetDeviceMetricsOverride(width, 900, 1, width < 600),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		chromedp.Navigate("file://"+abs), chromedp.WaitReady("footer"),
	)
	b.drawn()
}

// drawn waits until every chart is drawn, where a page has some.
func (b *browser) drawn() {
	b.t.Helper()
	await(b, `new Promise(done => { const look = () => document.getElementById("data") && !document.documentElement.dataset.complete ? setTimeout(look, 10) : done(true); look() })`)
}

// await evaluates a promise.
func await(b *browser, script string) {
	b.t.Helper()
	var v any
	b.do(chromedp.Evaluate(script, &v, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
}

// frames waits until what was asked for is on the screen.
func (b *browser) frames() {
	b.t.Helper()
	await(b, "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
}

// over returns left, top, width and height of what is drawn of a chart, in the middle of the screen.
func (b *browser) over(id string) [4]float64 {
	b.t.Helper()
	b.do(chromedp.Evaluate(fmt.Sprintf("document.getElementById(%q).scrollIntoView({block: 'center'})", id), nil))
	return [4]float64(eval[[]float64](b, fmt.Sprintf("(r => [r.left, r.top, r.width, r.height])(document.querySelector('#%s .u-over').getBoundingClientRect())", id)))
}

func eval[T any](b *browser, script string) (v T) {
	b.t.Helper()
	b.do(chromedp.Evaluate(script, &v))
	return v
}

// clean checks that nothing was loaded and nothing went wrong.
func (b *browser) clean(path string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, url := range b.requests {
		if !strings.HasPrefix(url, "file://") && url != "data:," && !strings.HasPrefix(url, "about:") || strings.HasPrefix(url, "file://") && !strings.HasSuffix(url, filepath.Base(path)) {
			b.t.Errorf("the page asks for %s", url)
		}
	}
	for _, f := range b.faults {
		b.t.Errorf("the browser says: %s", f)
	}
}

// drag moves the pressed mouse over a chart, from one share of its width to another.
func (b *browser) drag(id string, from, to float64) {
	b.t.Helper()
	r := b.over(id)
	y := r[1] + r[3]/2
	move := func(kind input.MouseType, share float64) chromedp.Action {
		return input.DispatchMouseEvent(kind, r[0]+r[2]*share, y).WithButton(input.Left).WithButtons(1).WithClickCount(1)
	}
	b.do(input.DispatchMouseEvent(input.MouseMoved, r[0]+r[2]*from, y), move(input.MousePressed, from), move(input.MouseMoved, (from+to)/2), move(input.MouseMoved, to), move(input.MouseReleased, to))
}

func (b *browser) text(id string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("(e => e ? e.textContent : '')(document.getElementById(%q))", id))
}

// sameAsReduce compares what the page shows of the selection with what its own command says.
func (b *browser) sameAsReduce(inputs ...string) {
	b.t.Helper()
	_, rest, ok := strings.Cut(b.text("command"), "--window '")
	window, _, _ := strings.Cut(rest, "'")
	if !ok {
		b.t.Fatalf("no command: %q", b.text("command"))
	}
	ph := phaseOf(b.t, reduceTo(b.t, append([]string{"--window", window}, inputs...)...), "selected")
	same := func(id, want string) {
		b.t.Helper()
		if got := b.text(id); got != want {
			b.t.Errorf("%s: the page says %q, reduce %q (%s)", id, got, want, window)
		}
	}
	same("s-energy", fmt.Sprintf("%.3f J", ph.Metrics[reduce.TotalGPUEnergy].Value))
	same("s-tokens", fmt.Sprintf("%.1f", *ph.Tokens.Output))
	shown, _ := strconv.ParseFloat(b.text("s-perjoule"), 64)
	if m := ph.Metrics[reduce.OutputTokensPerJoule]; m.Number == nil || math.Abs(shown/m.Value-1) > 1e-4 {
		b.t.Errorf("tokens/J: the page says %v, reduce %+v", shown, m.Number)
	}
}

func (b *browser) seen() [2]float64 {
	b.t.Helper()
	r := eval[[]float64](b, "wattrace.range")
	return [2]float64{r[0], r[1]}
}

// pageFile writes the page of inputs.
func pageFile(t testing.TB, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if code, _, stderr := runMain(t, append([]string{"-o", path}, args...)...); code != 0 && code != 3 {
		t.Fatalf("%v: exit %d: %s", args, code, stderr)
	}
	return path
}

// TestInABrowser uses the page of a run as a reader does: mouse, keys, buttons, a phone.
func TestInABrowser(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	path := pageFile(t, "report.html", simRequests, simPower)
	b.open(path, 1200, "light")
	charts := eval[int](b, "document.querySelectorAll('.uplot canvas').length")
	if charts != 6 {
		t.Errorf("%d charts", charts)
	}
	for _, id := range []string{"power", "devices", "busy", "tokens", "perjoule", "lanes"} {
		if n := eval[int](b, fmt.Sprintf("(c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 200; return n })(document.querySelector('#%s canvas'))", id)); n < 1000 {
			t.Errorf("%s: only %d pixels are drawn", id, n)
		}
	}
	b.drag("power", 0.4, 0.6)
	b.sameAsReduce(simRequests, simPower)
	before := b.text("s-energy")
	b.drag("lanes", 0.7, 0.35)
	if b.text("s-energy") == before {
		t.Error("another interval, the same energy")
	}
	b.sameAsReduce(simRequests, simPower)

	all := b.seen()
	b.do(chromedp.Click("#zoomin"))
	if z := b.seen(); math.Abs((z[1]-z[0])/(all[1]-all[0])-0.5) > 1e-6 {
		t.Errorf("zoom in: %v of %v", z, all)
	}
	for i := range charts {
		if r := eval[[]float64](b, fmt.Sprintf("(s => [s.min, s.max])(wattrace.charts[%d].u.scales.x)", i)); [2]float64(r) != b.seen() {
			t.Errorf("chart %d shows %v, not %v", i, r, b.seen())
		}
	}
	b.do(chromedp.Focus("#timeline"), chromedp.KeyEvent(kb.ArrowRight))
	if z := b.seen(); z[0] <= all[1]/4 {
		t.Errorf("arrow right: %v", z)
	}
	b.do(chromedp.KeyEvent("0"))
	if b.seen() != all {
		t.Errorf("0 shows %v, not %v", b.seen(), all)
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	if z := b.seen(); z[1]-z[0] > 0.6*(all[1]-all[0]) {
		t.Errorf("enter: %v", z)
	}
	b.drag("tokens", 0.3, 0.6) // inside what is seen
	b.sameAsReduce(simRequests, simPower)
	b.do(chromedp.Focus("#timeline"), chromedp.KeyEvent(kb.ArrowRight, chromedp.KeyModifiers(input.ModifierShift)))
	b.sameAsReduce(simRequests, simPower)
	b.do(chromedp.KeyEvent(kb.Escape))
	if hidden := eval[bool](b, "document.getElementById('selected').hidden"); !hidden {
		t.Error("escape leaves the selection")
	}
	b.do(chromedp.Evaluate("(e => { e.value = '1'; e.dispatchEvent(new Event('change')) })(document.getElementById('phase'))", nil))
	b.sameAsReduce(simRequests, simPower)
	b.do(chromedp.Evaluate("for (const [id, v] of [['from', '3.1'], ['to', '4.2']]) { const e = document.getElementById(id); e.value = v; e.dispatchEvent(new Event('change')) }", nil))
	b.sameAsReduce(simRequests, simPower)

	for _, scheme := range []string{"dark", "light"} {
		b.open(path, 390, scheme)
		if w := eval[int](b, "document.documentElement.scrollWidth"); w > 390 {
			t.Errorf("%d px wide on a phone", w)
		}
		b.drag("busy", 0.3, 0.8)
		b.sameAsReduce(simRequests, simPower)
	}
	b.do(emulation.SetEmulatedMedia().WithMedia("print"))
	if got := eval[string](b, "['.screen', '.paper', '.tools'].map(s => getComputedStyle(document.querySelector(s)).display).join(' ')"); got != "none block none" {
		t.Errorf("on paper: %s", got)
	}
	if bg := func(scheme string) string {
		b.open(path, 1200, scheme)
		return eval[string](b, "getComputedStyle(document.body).backgroundColor")
	}; bg("dark") == bg("light") {
		t.Error("dark is as light")
	}
	b.clean(path)
}

// print prints a page to PDF, and returns what of it a screen of the same width shows.
func (b *browser) print(width int64) (pdf []byte, shown image.Image) {
	b.t.Helper()
	var png []byte
	b.do(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		pdf, _, err = cdppage.PrintToPDF().WithPreferCSSPageSize(true).WithPaperWidth(8.27).WithPaperHeight(11.69).Do(ctx)
		return err
	}))
	b.do(emulation.SetEmulatedMedia().WithMedia("print").WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}), emulation.SetDeviceMetricsOverride(width, 900, 1, false))
	b.frames()
	b.do(chromedp.FullScreenshot(&png, 100))
	shown, _, err := image.Decode(bytes.NewReader(png))
	if err != nil {
		b.t.Fatal(err)
	}
	return pdf, shown
}

var pdfPages = regexp.MustCompile(`/Type\s*/Page\b`)

// TestOnPaper: a page prints light and whole, with figures as wide as the paper, and with
// what is folded on the screen.
func TestOnPaper(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	for _, c := range []struct {
		name    string
		figures int
		args    []string
	}{
		{"run", 5, []string{simRequests, simPower}}, {"phases", 5, []string{h200Log, h200Power}}, {"sweep", 2, sweep(t, t.TempDir())},
		{"report", 4, []string{reportFile(t, filepath.Join(t.TempDir(), "report.json"), nil)}},
	} {
		path := pageFile(t, "report.html", c.args...)
		b.open(path, 1200, "dark")
		const width = 700 // of A4 between the margins, in units of 1/96 inch
		pdf, shown := b.print(width)
		if n := len(pdfPages.FindAll(pdf, -1)); !bytes.HasPrefix(pdf, []byte("%PDF-")) || n < 2 || n > 20 {
			t.Errorf("%s: %d bytes, %d pages", c.name, len(pdf), n)
		}
		if w := eval[int](b, "document.documentElement.scrollWidth"); w > width {
			t.Errorf("%s: %d wide on paper of %d", c.name, w, width)
		}
		figures := eval[[][]float64](b, "[...document.querySelectorAll('.paper > svg, figure > svg')].map(s => s.getBoundingClientRect()).filter(r => r.width > 0).map(r => [r.left + scrollX, r.top + scrollY, r.width, r.height])")
		if len(figures) != c.figures {
			t.Errorf("%s: %d figures, want %d", c.name, len(figures), c.figures)
		}
		for i, r := range figures {
			drawn := 0
			for y := int(r[1]); y < int(r[1]+r[3]); y++ {
				for x := int(r[0]); x < int(r[0]+r[2]); x++ {
					if red, green, blue, _ := shown.At(x, y).RGBA(); max(red, green, blue)-min(red, green, blue) > 0x6000 {
						drawn++ // of a line, not grey
					}
				}
			}
			if drawn < 100 {
				t.Errorf("%s: figure %d has %d pixels", c.name, i, drawn)
			}
		}
		light, size := 0, shown.Bounds().Size()
		for y := range size.Y {
			for x := range size.X {
				if red, green, blue, _ := shown.At(x, y).RGBA(); min(red, green, blue) > 0xd000 {
					light++
				}
			}
		}
		if light < size.X*size.Y*8/10 {
			t.Errorf("%s: only %d of %v pixels are light", c.name, light, size)
		}
		if n := eval[int](b, "[...document.querySelectorAll('details table, details ul')].filter(e => !e.closest('.screen') && !e.checkVisibility()).length"); n > 0 {
			t.Errorf("%s: %d folded tables or lists are not printed", c.name, n)
		}
		const landscape = 1030
		b.do(emulation.SetDeviceMetricsOverride(landscape, 700, 1, false))
		if w := eval[float64](b, "[...document.querySelectorAll('.paper > svg, figure > svg')].map(s => s.getBoundingClientRect().width).filter(w => w > 0)[0]"); c.name != "report" && w < 0.95*landscape {
			t.Errorf("%s: the first figure is %v wide", c.name, w)
		}
		b.clean(path)
		b.do(emulation.SetEmulatedMedia().WithMedia(""))
	}
}

// fingers puts fingers on a chart and moves them together in steps, from some shares of its
// width and height to others.
func (b *browser) fingers(id string, from, to [][2]float64) {
	b.t.Helper()
	r := b.over(id)
	at := func(share float64) (list []*input.TouchPoint) {
		for i := range from {
			x, y := from[i][0]+share*(to[i][0]-from[i][0]), from[i][1]+share*(to[i][1]-from[i][1])
			list = append(list, &input.TouchPoint{X: math.Round(r[0] + x*r[2]), Y: math.Round(r[1] + y*r[3]), ID: float64(i + 1)})
		}
		return list
	}
	b.do(input.DispatchTouchEvent(input.TouchStart, at(0)))
	for i := 1; i <= 10; i++ {
		b.do(input.DispatchTouchEvent(input.TouchMove, at(float64(i)/10)))
	}
	b.do(input.DispatchTouchEvent(input.TouchEnd, []*input.TouchPoint{}))
	b.frames()
}

// TestTouch: on a phone one finger selects or scrolls the page, and two zoom.
func TestTouch(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	path := pageFile(t, "report.html", simRequests, simPower)
	b.do(emulation.SetTouchEmulationEnabled(true).WithMaxTouchPoints(2))
	b.open(path, 390, "light")
	all := b.seen()

	b.fingers("power", [][2]float64{{.2, .5}}, [][2]float64{{.7, .6}})
	b.sameAsReduce(simRequests, simPower)
	part := (eval[float64](b, "(wattrace.selection[1] - wattrace.selection[0]) / wattrace.steps"))
	if math.Abs(part-0.5) > 0.02 {
		t.Errorf("half of the chart selects %v of it", part)
	}
	// Up over a chart scrolls, and neither selects nor zooms.
	selected := b.text("s-energy")
	b.over("power")
	before := eval[float64](b, "scrollY")
	b.fingers("power", [][2]float64{{.5, .9}}, [][2]float64{{.52, -.6}})
	if after := eval[float64](b, "scrollY"); after < before+50 {
		t.Errorf("a finger that moves up scrolls from %v to %v", before, after)
	}
	if b.text("s-energy") != selected || b.seen() != all {
		t.Errorf("a finger that moves up selects %s instead of %s, and shows %v", b.text("s-energy"), selected, b.seen())
	}

	// Two that part zoom in around their middle, and then pan.
	b.fingers("tokens", [][2]float64{{.4, .5}, {.6, .5}}, [][2]float64{{.3, .5}, {.7, .5}})
	half := b.seen()
	if w := (half[1] - half[0]) / (all[1] - all[0]); math.Abs(w-0.5) > 0.03 || math.Abs(half[0]+half[1]-all[0]-all[1]) > 0.05*(all[1]-all[0]) {
		t.Errorf("twice as far apart: %v of %v", half, all)
	}
	b.fingers("tokens", [][2]float64{{.4, .5}, {.6, .5}}, [][2]float64{{.2, .5}, {.4, .5}})
	if moved := b.seen(); math.Abs(moved[1]-moved[0]-half[1]+half[0]) > 0.03*(all[1]-all[0]) || moved[0] < half[0]+0.05*(all[1]-all[0]) {
		t.Errorf("two fingers to the left: from %v to %v", half, moved)
	}
	if b.text("s-energy") != selected {
		t.Error("zooming selects")
	}
	b.fingers("lanes", [][2]float64{{.8, .5}}, [][2]float64{{.3, .5}})
	b.sameAsReduce(simRequests, simPower)
	if w := eval[int](b, "document.documentElement.scrollWidth"); w > 390 {
		t.Errorf("%d px wide", w)
	}
	b.clean(path)
}

// TestDrawnWhenSeen: at first only the charts on the screen are drawn, each other when it is
// scrolled to, and all of them where nothing else is to be done.
func TestDrawnWhenSeen(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	path := pageFile(t, "report.html", simRequests, simPower)
	b.do(chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := cdppage.AddScriptToEvaluateOnNewDocument("window.requestIdleCallback = f => { window.whenIdle = f }").Do(ctx)
		return err
	}))
	b.do(emulation.SetDeviceMetricsOverride(1200, 500, 1, false), chromedp.Navigate("file://"+path), chromedp.WaitReady("footer"))
	await(b, `new Promise(done => { const look = () => document.documentElement.dataset.drawn ? done(true) : setTimeout(look, 10); look() })`)
	b.frames()
	if n := eval[int](b, "wattrace.charts.length"); n < 1 || n > 3 {
		t.Errorf("%d charts at first", n)
	}
	room := eval[int](b, "document.documentElement.scrollHeight")
	b.do(chromedp.Evaluate("document.getElementById('lanes').scrollIntoView()", nil))
	await(b, `new Promise(done => { const look = () => document.querySelector("#lanes canvas") ? done(true) : setTimeout(look, 10); look() })`)
	for range 6 {
		b.do(chromedp.Evaluate("whenIdle()", nil))
	}
	if n := eval[int](b, "document.querySelectorAll('.uplot').length"); n != 6 {
		t.Errorf("%d charts in the end", n)
	}
	if now := eval[int](b, "document.documentElement.scrollHeight"); math.Abs(float64(now-room)) > 60 {
		t.Errorf("the page was %d high and is %d", room, now)
	}
	b.drag("perjoule", 0.4, 0.6)
	b.sameAsReduce(simRequests, simPower)
	b.clean(path)
}

// TestAnHourInABrowser is a page of 8 GPUs, 20 ms, an hour and 3,000 requests.
func TestAnHourInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("an hour of rows")
	}
	t.Parallel()
	b := newBrowser(t)
	log, power := generated{gpus: 8, length: time.Hour, requests: 3000, host: "node1", model: "NVIDIA H200", seed: 1}.write(t, t.TempDir())
	path := pageFile(t, "hour.html", log, power)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 3e6 {
		t.Errorf("%d bytes", info.Size())
	}
	b.open(path, 1200, "light")
	b.drag("devices", 0.2, 0.7)
	b.sameAsReduce(log, power)
	var zoom float64
	b.do(chromedp.Evaluate("(async () => { let best = 1e9; for (let i = 0; i < 5; i++) { const a = performance.now(); wattrace.show(600 + i, 3000); await null; best = Math.min(best, performance.now() - a) } return best })()", &zoom,
		func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	t.Logf("%d bytes; drawn in %s ms, all charts in %s ms, zoomed in %.1f ms", info.Size(), eval[string](b, "document.documentElement.dataset.drawn"), eval[string](b, "document.documentElement.dataset.complete"), zoom)
	b.clean(path)
}

// TestScreenshots writes the pages that README shows, where WATTRACE_SCREENSHOTS says.
func TestScreenshots(t *testing.T) {
	if os.Getenv("WATTRACE_SCREENSHOTS") == "" {
		t.Skip("make screenshots runs it")
	}
	b := newBrowser(t)
	shots(t, b, pageFile(t, "report.html", "--title", "A small server on one H200", h200Log, h200Power), "report", 0.38, 0.62, "light", "dark", "phone")
	log, power := generated{gpus: 8, length: time.Hour, requests: 3000, host: "node1", model: "generated GPU", seed: 1}.write(t, t.TempDir())
	shots(t, b, pageFile(t, "hour.html", "--title", "Eight generated GPUs for an hour", log, power), "hour", 0.2, 0.7, "dark")
	shots(t, b, pageFile(t, "sweep.html", sweep(t, t.TempDir())...), "sweep", 0, 0, "light")
}

// shots writes screenshots to WATTRACE_SCREENSHOTS, if it is set.
func shots(t *testing.T, b *browser, path, name string, from, to float64, which ...string) {
	t.Helper()
	dir := os.Getenv("WATTRACE_SCREENSHOTS")
	if dir == "" {
		return
	}
	for _, shot := range []struct {
		name, scheme  string
		width, height int64
	}{{"light", "light", 1100, 1400}, {"dark", "dark", 1100, 1150}, {"phone", "light", 390, 1500}} {
		if !slices.Contains(which, shot.name) {
			continue
		}
		b.open(path, shot.width, shot.scheme)
		b.do(emulation.SetDeviceMetricsOverride(shot.width, shot.height, 1, shot.width < 600))
		if to > 0 {
			b.do(chromedp.Evaluate(fmt.Sprintf("wattrace.select(Math.round(wattrace.steps*%v), Math.round(wattrace.steps*%v))", from, to), nil))
		}
		b.do(chromedp.Evaluate("(e => e ? e.scrollIntoView() : window.scrollTo(0, 0))(document.getElementById('timeline'))", nil), chromedp.Sleep(300*time.Millisecond))
		var png []byte
		b.do(chromedp.ActionFunc(func(ctx context.Context) (err error) {
			png, err = cdppage.CaptureScreenshot().WithFormat(cdppage.CaptureScreenshotFormatPng).WithOptimizeForSpeed(false).Do(cdp.WithExecutor(ctx, chromedp.FromContext(ctx).Target))
			return err
		}))
		if len(png) > 200_000 {
			t.Errorf("%s-%s.png has %d bytes", name, shot.name, len(png))
		}
		if err := os.WriteFile(filepath.Join(dir, name+"-"+shot.name+".png"), png, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
