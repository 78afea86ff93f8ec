"use strict";

// Formulas stand in the page as TeX; a formula that cannot be typeset raises, and a test looks at the console.
document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(".formula")) {
    katex.render(element.textContent, element, { displayMode: element.tagName === "DIV", throwOnError: true });
  }
});
