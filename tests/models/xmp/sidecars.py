"""Sidecars as programs write them, made after what they document of their form and properties."""

from __future__ import annotations

from pathlib import Path

from models.xmp import tags
from models.xmp.tags import Tag

DARKTABLE = b"""<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:exif="http://ns.adobe.com/exif/1.0/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:darktable="http://darktable.sf.net/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
   exif:DateTimeOriginal="2026:05:01 10:11:12.000"
   xmp:Rating="3"
   darktable:xmp_version="5"
   darktable:raw_params="0"
   darktable:auto_presets_applied="1">
   <darktable:masks_history>
    <rdf:Seq/>
   </darktable:masks_history>
   <darktable:history>
    <rdf:Seq>
     <rdf:li
      darktable:num="0"
      darktable:operation="flip"
      darktable:params="gz02eJxjYGBgAAAABAAB"/>
    </rdf:Seq>
   </darktable:history>
   <dc:subject>
    <rdf:Bag>
     <rdf:li>holiday</rdf:li>
     <rdf:li>sea</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <lr:hierarchicalSubject>
    <rdf:Bag>
     <rdf:li>places|sea</rdf:li>
     <rdf:li>holiday</rdf:li>
    </rdf:Bag>
   </lr:hierarchicalSubject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""

DIGIKAM = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 6.0.0">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
    xmlns:digiKam="http://www.digikam.org/ns/1.0/"
    xmlns:MicrosoftPhoto="http://ns.microsoft.com/photo/1.0/"
    xmlns:mediapro="http://ns.iview-multimedia.com/mediapro/1.0/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    tiff:Software="digiKam-8.1.0">
   <digiKam:TagsList>
    <rdf:Seq>
     <rdf:li>사람/가족 &amp; 친구</rdf:li>
    </rdf:Seq>
   </digiKam:TagsList>
   <MicrosoftPhoto:LastKeywordXMP>
    <rdf:Bag>
     <rdf:li>사람/가족 &amp; 친구</rdf:li>
    </rdf:Bag>
   </MicrosoftPhoto:LastKeywordXMP>
   <mediapro:CatalogSets>
    <rdf:Bag>
     <rdf:li>사람|가족 &amp; 친구</rdf:li>
    </rdf:Bag>
   </mediapro:CatalogSets>
   <lr:hierarchicalSubject>
    <rdf:Bag>
     <rdf:li>사람|가족 &amp; 친구</rdf:li>
    </rdf:Bag>
   </lr:hierarchicalSubject>
   <dc:subject>
    <rdf:Bag>
     <rdf:li>가족 &amp; 친구</rdf:li>
    </rdf:Bag>
   </dc:subject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()

LIGHTROOM = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0-c000 1.000000        ">\r
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\r
  <rdf:Description rdf:about="uuid:2fa9"\r
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"\r
    xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"\r
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"\r
    xmlns:dc="http://purl.org/dc/elements/1.1/"\r
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"\r
   xmp:Rating="5"\r
   photoshop:SidecarForExtension="NEF"\r
   crs:Version="15.4"\r
   crs:ToneCurveName='a "linear" > one'>\r
   <dc:subject>\r
    <rdf:Bag>\r
     <rdf:li>Wildlife</rdf:li>\r
     <rdf:li>Fox</rdf:li>\r
    </rdf:Bag>\r
   </dc:subject>\r
   <lr:hierarchicalSubject>\r
    <rdf:Bag>\r
     <rdf:li>Wildlife|Fox</rdf:li>\r
    </rdf:Bag>\r
   </lr:hierarchicalSubject>\r
   <crs:ToneCurve>\r
    <rdf:Seq>\r
     <rdf:li>0, 0</rdf:li>\r
     <rdf:li>255, 255</rdf:li>\r
    </rdf:Seq>\r
   </crs:ToneCurve>\r
  </rdf:Description>\r
 </rdf:RDF>\r
</x:xmpmeta>\r
"""

EXIFTOOL = """<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>
<x:xmpmeta xmlns:x='adobe:ns:meta/' x:xmptk='Image::ExifTool 12.57'>
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>

 <rdf:Description rdf:about=''
  xmlns:dc='http://purl.org/dc/elements/1.1/'>
  <dc:subject>
   <rdf:Bag>
    <rdf:li>flat</rdf:li>
   </rdf:Bag>
  </dc:subject>
 </rdf:Description>

 <rdf:Description rdf:about=''
  xmlns:unknown='http://example.org/unknown/'>
  <unknown:Note rdf:parseType='Resource'><unknown:Deep>kept</unknown:Deep></unknown:Note>
 </rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end='w'?>""".encode()

WITHOUT_TAGS = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="1"/></rdf:RDF></x:xmpmeta>'
)

BY_PROGRAM = {
    "darktable": DARKTABLE,
    "digikam": DIGIKAM,
    "lightroom": LIGHTROOM,
    "exiftool": EXIFTOOL,
    "without-tags": WITHOUT_TAGS,
}

_RDF = '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"{}>{}</rdf:RDF>'
_DESCRIPTION = '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">{}</rdf:Description>'


def with_subject(subject: str) -> bytes:
    """Make a sidecar with a ``dc:subject`` that is written so."""
    return _RDF.format("", _DESCRIPTION.format(subject)).encode()


#: Lists without an entry, in all forms that they have.
WITH_EMPTY_LISTS = {
    "short-list": with_subject("<dc:subject><rdf:Bag/></dc:subject>"),
    "short-list-with-space": with_subject("<dc:subject><rdf:Seq  /></dc:subject>"),
    "long-list": with_subject("<dc:subject> <rdf:Bag></rdf:Bag> </dc:subject>"),
    "list-of-space": with_subject("<dc:subject><rdf:Bag>\n  </rdf:Bag></dc:subject>"),
    "short-property": with_subject("<dc:subject />"),
    "long-property": with_subject("<dc:subject></dc:subject>"),
    "no-description": _RDF.format("", "").encode(),
    "no-description-but-space": _RDF.format("", "\n <!-- nothing -->\n").encode(),
    "short-rdf": b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" />',
    "default-namespace": b'<RDF xmlns="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><Description><a xmlns="b"/>'
    b'<subject xmlns="http://purl.org/dc/elements/1.1/"><Bag xmlns="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b"<li>sea</li></Bag></subject></Description></RDF>",
}

#: What grows to a great size where entities are expanded.
LAUGHS = b'<!DOCTYPE x [<!ENTITY a "ha">]><x>&a;</x>'


def own_tag(sidecar: Path) -> Tag | None:
    """Our tag in a sidecar."""
    return tags.read(sidecar.read_bytes()).own
