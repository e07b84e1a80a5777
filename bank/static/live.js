// live.js - keeps a table of newest payments up to date: asks for the rows above the last that it has, which the
// server has escaped, and puts them on top. Without it the page shows what there was when it was made.
"use strict";

const EVERY = 1000; // milliseconds between two questions
const PATIENCE = 10000; // milliseconds until an answer is given up
const LOST = "The dashboard does not answer; trying again";
const box = document.querySelector("[data-live]");

if (box !== null) {
    const body = box.querySelector("tbody");
    const button = box.querySelector("button");
    const status = box.querySelector("[role=status]");
    const keep = Number(box.dataset.keep);
    let paused = false;
    let asking = false;

    const newest = () => body.querySelector("tr[data-entry]")?.dataset.entry ?? "0";

    const say = (text) => { // a screen reader reads out what changes here
        status.textContent = text;
        box.classList.toggle("lost", text === LOST);
    };

    const add = (html) => {
        const template = document.createElement("template");
        template.innerHTML = html;
        const rows = [...template.content.querySelectorAll("tr")];
        if (rows.length === 0)
            return;
        rows.forEach((row) => row.classList.add("new"));
        body.querySelector("tr.none")?.remove();
        body.prepend(...rows);
        [...body.rows].slice(keep).forEach((row) => row.remove());
        say(rows.length === 1 ? "1 new payment" : `${rows.length} new payments`);
    };

    const ask = async () => {
        if (paused || asking || document.hidden)
            return;
        asking = true;
        try {
            const answer = await fetch(`${box.dataset.live}?after=${newest()}`, {signal: AbortSignal.timeout(PATIENCE)});
            if (!answer.ok)
                throw new Error(answer.statusText);
            const html = await answer.text();
            if (!paused) {
                if (box.classList.contains("lost"))
                    say("Live");
                add(html);
            }
        } catch {
            if (!paused && !box.classList.contains("lost"))
                say(LOST);
        } finally {
            asking = false;
        }
    };

    button.addEventListener("click", () => {
        paused = !paused;
        button.textContent = paused ? "Go on" : "Pause";
        say(paused ? "Paused" : "Live");
        ask();
    });
    document.addEventListener("visibilitychange", ask);
    button.hidden = false;
    say("Live");
    setInterval(ask, EVERY);
}
