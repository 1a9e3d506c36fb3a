"""What makes a page usable with a keyboard and a screen reader, as far as it can be counted."""

# Elements with text whose contrast to what is behind them is less than 4.5 to 1 (WCAG 2.1, AA).
import itertools

FAINT = """
const light = (colour) => {
  const [r, g, b] = colour.map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
const behind = (element) => {
  for (; element; element = element.parentElement) {
    const colour = parts(getComputedStyle(element).backgroundColor);
    if (colour.length === 3 || colour[3] > 0) return colour.slice(0, 3);
  }
  return [255, 255, 255];
};
const faint = [];
for (const element of document.querySelectorAll("body *")) {
  if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
  const [a, b] = [light(parts(getComputedStyle(element).color).slice(0, 3)), light(behind(element))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5 && !element.disabled) faint.push(`${element.tagName} ${element.textContent.slice(0, 30)}: ${contrast.toFixed(1)}`);
}
return faint;
"""


def audit(browser):
    run = browser.run
    assert run("return document.documentElement.lang") == "en"
    run("document.querySelectorAll('[data-of]').forEach((field) => (field.hidden = false))")
    for element in browser.find("button, input, select, textarea, a, section, ul"):
        assert element.label(), f"without a name: {element.send('GET', '/property/outerHTML')[:100]}"
    for image in browser.find("img"):
        assert image.send("GET", "/attribute/alt"), "a picture without alt"
    assert run("return document.querySelectorAll('th:not([scope])').length") == 0
    assert run("return document.querySelectorAll('table th').length") > 20
    levels = run("return [...document.querySelectorAll('h1, h2, h3')].map((it) => Number(it.tagName[1]))")
    assert levels[0] == 1 and all(b - a <= 1 for a, b in itertools.pairwise(levels)), levels
    assert run("return document.querySelector('#news').role ?? document.querySelector('#news').getAttribute('role')") == "status"
    assert run('return document.querySelectorAll(\'[tabindex]:not([tabindex="0"]):not([tabindex="-1"])\').length') == 0
    faint = run(FAINT)
    assert not faint, faint
    run("document.querySelector('#act').dispatchEvent(new Event('change'))")
    # Nothing came from elsewhere.
    others = run("return performance.getEntriesByType('resource').map((it) => it.name).filter((it) => !it.startsWith(location.origin))")
    assert not others, others
