// a11y.js - what a page must have so that everybody can use it: run in the page, returns what is wrong, as sentences.
// The rules are those of WCAG 2.1 that a program can tell.
const wrong = [];
const all = (selector) => [...document.querySelectorAll(selector)];
const where = (e) => `${e.tagName.toLowerCase()} '${(e.textContent || e.id).trim().slice(0, 40)}'`;
const visible = (e) => e.getClientRects().length > 0 && getComputedStyle(e).visibility !== "hidden";
const named = (e) => (e.getAttribute("aria-label") || e.textContent).trim() !== "";

// 3.1.1, 2.4.2, 2.4.1, 1.3.1
if (!document.documentElement.lang) wrong.push("the page has no language");
if (!document.title.trim()) wrong.push("the page has no title");
if (all("main").length !== 1) wrong.push("the page has no main part, or several");
if (!all("a.skip[href='#main']").length || !document.getElementById("main")) wrong.push("nothing skips to the content");

// 1.3.1: one first heading, and none that leaves out a level
const levels = all("h1, h2, h3, h4, h5, h6").map((h) => Number(h.tagName[1]));
if (levels.filter((n) => n === 1).length !== 1 || levels[0] !== 1) wrong.push("there is not one first heading");
levels.forEach((n, i) => { if (i > 0 && n > levels[i - 1] + 1) wrong.push(`heading ${i} leaves out a level`); });

// 1.3.1, 4.1.2: fields have labels, tables captions and scopes, links and buttons names
all("input, select, textarea").forEach((e) => { if (!e.labels.length || !named(e.labels[0])) wrong.push(`no label: ${e.id}`); });
all("th").forEach((e) => { if (!e.scope) wrong.push(`no scope: ${where(e)}`); });
all("table").forEach((e) => { if (!e.caption || !named(e.caption)) wrong.push("a table has no caption"); });
all("tbody tr").forEach((r) => {
    const span = [...r.cells].reduce((n, c) => n + c.colSpan, 0);
    const columns = [...r.closest("table").tHead.rows[0].cells].length;
    if (span !== columns) wrong.push(`a row of ${span} cells under ${columns} headings`);
});
all("a[href], button").forEach((e) => { if (visible(e) && !named(e)) wrong.push(`no name: ${e.outerHTML.slice(0, 80)}`); });
all("img, svg").forEach((e) => { if (!e.getAttribute("alt") && e.getAttribute("aria-hidden") !== "true") wrong.push("a picture has no text"); });
all("nav, [role=region]").forEach((e) => { if (!e.getAttribute("aria-label")) wrong.push(`no name: ${where(e)}`); });

// 4.1.1, 2.4.3
const ids = all("[id]").map((e) => e.id);
ids.forEach((id, i) => { if (ids.indexOf(id) !== i) wrong.push(`two of id '${id}'`); });
all("[tabindex]").forEach((e) => { if (e.tabIndex > 0) wrong.push(`out of order: ${where(e)}`); });

// 1.4.3: contrast of text against the ground behind it, 4.5 to 1
const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
const ground = (e) => {
    for (; e !== null; e = e.parentElement) {
        const [r, g, b, a = 1] = parse(getComputedStyle(e).backgroundColor);
        if (a === 1) return [r, g, b];
    }
    return matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
};
const light = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
all("body *").forEach((e) => {
    const text = [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.textContent.trim() !== "");
    if (!text || !visible(e) || e.closest(".skip, noscript, script, tr.new")) return;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) wrong.push(`contrast ${ratio.toFixed(1)}: ${where(e)}`);
});

return wrong;
