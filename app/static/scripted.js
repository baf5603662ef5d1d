// Runs before the page is drawn: what needs a script is shown only where there is one.
document.documentElement.classList.add("scripted");
