"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");

  const button = document.getElementById("scheme");
  const dark = () => (root.dataset.scheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const label = () => { button.textContent = dark() ? "Light colours" : "Dark colours"; };
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.scheme = dark() ? "light" : "dark"; label(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
  label();

  for (const control of document.querySelectorAll(".wipe")) {
    control.hidden = false;
    const area = document.getElementById(control.dataset.area);
    control.querySelector("input").addEventListener("input", (event) => {
      for (const picture of area.querySelectorAll(".compared")) picture.style.removeProperty("--cut");
      area.style.setProperty("--cut", event.target.value + "%");
    });
    area.addEventListener("pointermove", (event) => {
      const picture = event.target.closest(".compared");
      if (!picture) return;
      const box = picture.getBoundingClientRect();
      const cut = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
      picture.style.setProperty("--cut", (100 * cut).toFixed(1) + "%");
    });
    area.addEventListener("pointerout", (event) => {
      const picture = event.target.closest(".compared");
      if (picture) picture.style.removeProperty("--cut");
    });
  }
})();
