// What buttons of the Models tab want: `data-act` and `data-family` go to the server, which draws the answer.
// NEWS: this part asks how things are every few seconds while it is in view, for other visitors load models too.

const EVERY = 5000; // milliseconds
const SURE = 4000; // in which Remove must be pressed again

function surely(button) {
  if (button.dataset.sure) return true;
  const text = button.textContent;
  button.dataset.sure = 'asked';
  button.textContent = 'Press again to remove';
  setTimeout(() => {
    delete button.dataset.sure;
    button.textContent = text;
  }, SURE);
  return false;
}

element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-act]');
  if (!button || button.disabled) return;
  const { act, family } = button.dataset;
  if (act === 'halt') trigger('stop', {});
  else if (act !== 'remove' || surely(button)) trigger('submit', { act, family });
});

if (NEWS) {
  const timer = setInterval(() => {
    if (!element.isConnected) clearInterval(timer);
    else if (!document.hidden && element.checkVisibility()) trigger('tick', {});
  }, EVERY);
}
