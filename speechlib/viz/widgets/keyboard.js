// Invisible: keeps JupyterLab's one-letter commands and arrow keys away from the widgets it stands
// among. Without it, Down in a drop-down leaves for the next cell, and "2" makes a heading.

const CONTROLS = "select, input, button, textarea, [tabindex]";

function render({ el }) {
  el.style.display = "none";
  let frame = 0;
  const watch = new MutationObserver(() => guard());
  let output = null;
  // JupyterLab looks for the attribute on the focused element first, so a parent's is too late.
  const guard = () => output.querySelectorAll(CONTROLS).forEach((control) => {
    control.dataset.lmSuppressShortcuts = "true";
  });
  const begin = () => { // the surroundings exist only after this has been put into the page
    output = el.closest(".jp-OutputArea-output, .widget-vbox");
    if (!output) { frame = requestAnimationFrame(begin); return; }
    guard();
    watch.observe(output, { childList: true, subtree: true });
  };
  begin();
  return () => { cancelAnimationFrame(frame); watch.disconnect(); };
}

export default { render };
