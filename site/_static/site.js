// A slider switches between pictures that were drawn when the site was built.
document.querySelectorAll(".positions").forEach(group => {
  const inputs = [...group.querySelectorAll("input")];
  const move = () => {
    inputs.forEach(input => { input.nextElementSibling.value = JSON.parse(input.dataset.values)[input.value]; });
    const name = inputs.map(input => input.value).join("-");
    group.querySelectorAll("img").forEach(image => {
      image.alt = JSON.parse(group.dataset.texts)[name];
      image.src = `${group.dataset.folder}/${name}${image.classList.contains("only-dark") ? "-dark" : ""}.png`;
    });
  };
  inputs.forEach(input => { input.parentElement.hidden = false; input.addEventListener("input", move); });
});
