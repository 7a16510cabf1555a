"""The words whose meaning recall knows: how one asks, small talk, the first person.

English first; of other languages what everybody says. A language that is not here loses nothing but
what these lists add.
"""

from __future__ import annotations

FUNCTION_WORDS = frozenset(
    """a an and are as at be been being but by can could d did do does doing for from had has have
    having he her hers him his how i if in into is it its just ll m may me might my no not of on or
    our ours re s shall she should so some t than that the their theirs them then there these they
    this those to too us ve was we were what when where which while who whom whose why will with
    would you your yours""".split()
)
"""How something is asked, not what about: never index terms."""

CHATTER = frozenset(
    """hi hello hey hiya yo bye goodbye thanks thank thx ok okay yes yeah yep nope sure great good
    nice cool wow amazing awesome perfect lol haha sorry please welcome morning evening night
    afternoon sounds sound well right fine alright got get go going see meet later today now tell
    explain repeat again continue mean help understand question answer try write make shorter
    longer funny exactly wrong want like know think let much really very never mind here thing
    things something anything everything lot one up down said say says talk talked talking told
    discuss discussed mention mentioned remember recall remind chat conversation last time
    yesterday tomorrow tonight week ago more about wait done stop hmm huh test testing works happen
    happened back day oh ah aha ooh um uh er eh whoa yay ugh phew gosh omg
    congrats congratulations agree agreed correct true noted understood gotcha deal absolutely
    definitely certainly totally obviously perhaps maybe probably possibly actually basically
    literally seriously honestly glad happy interesting impressive brilliant excellent fantastic
    wonderful lovely super terrible bad make makes sense worries worry problem matter cheers joke
    luck lucky fun safe care appreciate appreciated grateful point fair enough ready moment minute
    second long only ever still also even another else same new real kind idea ideas weekend hope
    feel start let lets course guess everyone guys mate buddy dude brb btw

    hallo danke bitte ja nein tschüss guten tag abend bonjour salut merci oui bonsoir hola gracias
    sí buenos días ciao grazie prego olá obrigado obrigada oi sim hoi dank hej tack cześć dzięki
    привет спасибо да нет здравствуйте пока пожалуйста merhaba teşekkürler evet
    你好 您好 谢谢 谢谢你 好的 再见 早上好 晚安 是的 こんにちは ありがとう ありがとうございます はい
    いいえ おはよう おはようございます すみません 안녕하세요 안녕 감사합니다 네 아니요
    สวัสดี ขอบคุณ""".split()
)
"""Small talk and commands to a model: index terms, but nothing is recalled for them alone."""

OWN = frozenset(
    """my mine our ours ich mein meine meinen meinem meiner wir unser unsere unseren je j mon mes
    nous notre nos yo mi mis nosotros nosotras nuestro nuestra eu meu minha io mio mia miei ik mijn
    wij onze jag mitt vår я меня мне мой моя моё мои моей мою мы наш наша benim""".split()
)
"""Words of the first person in statements, beside "I" and "we", which stand in questions too."""

FIRST_PERSON = OWN | frozenset(
    """i me myself we us im ive mir mich uns moi ma nos mí meus minhas mie mij ons min vi ja mam mój
    moja нас ben bana""".split()
)
"""Words by which people speak of themselves, asking too."""
