"use strict";
// All text is put in as text (textContent), never as markup.

const MOST_BYTES = 1 << 20; // as web.py has it
const turns = [];
const list = document.getElementById("turns");
const form = document.getElementById("say");
const input = document.getElementById("text");
const error = document.getElementById("error");
let busy = false; // one question at a time

function add(parent, tag, text, kind) {
  const made = parent.appendChild(document.createElement(tag));
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

// Show a text as the discriminator sees it: pieces of [text, p(replaced) or null].
function colour(paragraph, pieces) {
  paragraph.textContent = "";
  for (const [text, replaced] of pieces) {
    const piece = add(paragraph, "span", text);
    if (replaced === null) continue;
    piece.style.backgroundColor = `rgb(225 30 30 / ${(0.75 * replaced).toFixed(3)})`;
    piece.title = `p(replaced) ${replaced.toFixed(2)}`;
    piece.dataset.replaced = replaced;
    if (replaced > 0.5) piece.className = "doubted";
  }
}

function number(score) {
  return score === null ? "–" : score.toFixed(3);
}

// Proposals as a table, with a column of numbers where they are candidates, and one for each judge.
function table(parent, proposals) {
  const chosen = proposals[0].number !== null;
  const judges = Object.keys(proposals[0].judged ?? {});
  const made = add(parent, "table");
  const head = add(made, "tr");
  for (const name of ["score", ...judges, ...(chosen ? ["candidate"] : []), "text"]) add(head, "th", name);
  for (const proposal of proposals) {
    const row = add(made, "tr");
    add(row, "td", number(proposal.score), "number");
    for (const name of judges) add(row, "td", number(proposal.judged[name]), "number");
    if (chosen) add(row, "td", `#${proposal.number + 1}`, "number");
    add(row, "td", proposal.text);
  }
}

function why(item, answer, before) {
  const chosen = answer.proposals[0].number !== null;
  const details = add(item, "details");
  add(details, "summary", "Why");
  const read = before === 1 ? "the turn" : `the last ${answer.turns_read} of ${before} turns`;
  const from = chosen ? `Chosen from ${answer.compared} candidates` :
    answer.compared === 1 ? "Written" : `${answer.compared} were written`;
  add(details, "p", `${from}; read: ${read}${answer.truncated ? ", cut" : ""}.`);
  table(details, answer.proposals);
  if (answer.retrieved.length) {
    add(details, "p", "Retrieved, of which the first was read:");
    table(details, answer.retrieved);
  }
}

async function ask(said) {
  const body = JSON.stringify({turns: [...turns, said]});
  if (new TextEncoder().encode(body).length > MOST_BYTES) {
    throw new Error("The turns are too long to be sent: begin another conversation, or say less.");
  }
  const response = await fetch("reply", {method: "POST", headers: {"Content-Type": "application/json"}, body});
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const said = input.value.trim();
  if (!said || busy) return;
  error.textContent = "";
  busy = true;
  const item = add(list, "li", undefined, "you");
  const own = add(item, "p", said);
  input.value = "";
  try {
    const answer = await ask(said);
    turns.push(said, answer.text);
    const other = add(list, "li", undefined, "me");
    const text = add(other, "p", answer.text);
    if (answer.replied) {
      colour(own, answer.said);
      colour(text, answer.replied);
      document.getElementById("legend").hidden = false;
    }
    why(other, answer, turns.length - 1);
    form.scrollIntoView({block: "end"});
  } catch (problem) {
    item.remove();
    input.value = input.value || said;
    error.textContent = problem instanceof TypeError ? "The server does not answer: it has ended." : problem.message;
  } finally {
    busy = false;
    input.focus();
  }
});

document.getElementById("new").addEventListener("click", () => {
  if (busy) return;
  turns.length = 0;
  list.textContent = error.textContent = "";
  input.focus();
});
