"""Settings of the documentation: Sphinx, MyST, and a gallery of the scripts in examples/."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import byways

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

os.environ.setdefault("MPLBACKEND", "Agg")

HERE = Path(__file__).resolve().parent

project = "byways"
author = "byways contributors"
project_copyright = "byways contributors"
version = release = byways.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery/*.py", "gallery/*.ipynb", "gallery/*.md5", "gallery/*.json"]
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"byways {release}"
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
add_module_names = False
python_maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Shape", "params_style")]

# A script whose name starts with train_ made one of the package's networks; it is shown, not run.
sphinx_gallery_conf = {
    "examples_dirs": [str(HERE.parent / "examples")],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"/(?!train_)[^/]*\.py$",
    "abort_on_example_error": True,
    "parallel": 2,
    "download_all_examples": False,
    "min_reported_time": 1e9,  # seconds per script are no part of the documentation
    "show_memory": False,
    "write_computation_times": False,
}

# Other projects' names have no page here, and no inventory is fetched from anywhere.
nitpick_ignore_regex = [
    (r"py:.*", r"(collections|concurrent|enum|pathlib|types|typing)\..*"),
    (r"py:.*", r"(matplotlib|numpy|np|onnx|pandas|pd|scipy|torch|nn)\..*"),
    (r"py:.*", r"(Any|ArrayLike|Array|Axes|Callable|Executor|Iterable|Iterator|Mapping|Path)"),
    (r"py:.*", r"(DataFrame|Generator|ModuleType|NDArray|Protocol|Self|Sequence|Tensor|csr_array)"),
    # Our own short names for types, which stand in signatures and have no page.
    (
        r"py:.*",
        r"(.*\.)?(Activation|Arrays|Bits|DTypeLike|Domain|Ints|Texts|JSON|Kind|Listener|Networks|Problem|Question|_[A-Z]\w*)",
    ),
]

PUBLIC_PACKAGES = (
    "byways.core",
    "byways.networks",
    "byways.parallel",
    "byways.parallel.diagnostics",
    "byways.parallel.elements",
    "byways.regions",
    "byways.runs",
    "byways.sparse_inference",
)
# Given back, never made by a caller: described on the page of their pass.
GIVEN_BACK = (
    "byways.parallel._backward.ParallelBackward",
    "byways.parallel._ddim.SampleInfo",
    "byways.parallel._plan.Plan",
    "byways.parallel._plan.Prediction",
    "byways.parallel._solve.SolveInfo",
    "byways.regions._proof.ProofCheck",
    "byways.regions._estimate.RegionEstimate",
    "byways.regions._outcome.Outcome",
    "byways.regions._proof.Proof",
    "byways.regions._region.Region",
    "byways.sparse_inference._cache.CacheReport",
    "byways.sparse_inference._compile.Explanation",
    "byways.sparse_inference._environment.EdgeOrderVectorEnv",
    "byways.sparse_inference._order_policy.OrderPolicy",
    "byways.sparse_inference._simulate.IOReport",
    "byways.sparse_inference._training_report.TrainingOutcome",
    "byways.sparse_inference._training_report.TrainingReport",
)


def public_names() -> dict[str, str]:
    """Map the last part of every public name to the place where these pages describe it."""
    homes = {home.rpartition(".")[2]: home for home in GIVEN_BACK}
    for package in PUBLIC_PACKAGES:
        for name in getattr(importlib.import_module(package), "__all__", ()):
            homes.setdefault(name, f"{package}.{name}")
    return homes


def resolve_private_home(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: Element
) -> Any:
    """Find ``byways.core.chain.LayerChain`` or ``LayerChain`` under its public name."""
    target = str(node.get("reftarget", ""))
    home = app.config.byways_public_names.get(target.rpartition(".")[2])
    if node.get("refdomain") != "py" or home is None or home == target:
        return None
    found = env.domains["py"].resolve_xref(
        env, node["refdoc"], app.builder, "obj", home, node, contnode
    )
    return found or contnode


def setup(app: Sphinx) -> None:
    """Register the resolver of names."""
    app.add_config_value("byways_public_names", public_names(), "env")
    app.connect("missing-reference", resolve_private_home)
