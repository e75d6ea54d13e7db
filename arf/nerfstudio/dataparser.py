"""Our dataparser, as nerfstudio's entry point finds it.

Not in methods.py: nerfstudio loads it while it is still importing what that file needs.
"""

from nerfstudio.plugins.registry_dataparser import DataParserSpecification

from arf.nerfstudio.parser import CaptureDataParserConfig

arf_capture = DataParserSpecification(
    config=CaptureDataParserConfig(),
    description="Any capture that arf reads: transforms.json, Blender, COLMAP or LLFF, recognised from its folder.",
)
