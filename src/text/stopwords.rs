//! Words that are left out of an index: the English ones are those of `chroma_bm25`, without the 26 with an apostrophe,
//! which can never come out of its cutting. Those of other languages are articles, pronouns, prepositions,
//! conjunctions and forms of "to be" and "to have", written from grammar. Other languages have none.

use super::settings::Language;

/// In lower case.
pub(super) fn stopwords_of(language: Language) -> &'static str {
    match language {
        Language::English => ENGLISH,
        Language::Danish => DANISH,
        Language::Dutch => DUTCH,
        Language::French => FRENCH,
        Language::German => GERMAN,
        Language::Italian => ITALIAN,
        Language::Norwegian => NORWEGIAN,
        Language::Portuguese => PORTUGUESE,
        Language::Spanish => SPANISH,
        Language::Swedish => SWEDISH,
        Language::Arabic
        | Language::Finnish
        | Language::Greek
        | Language::Hungarian
        | Language::Romanian
        | Language::Russian
        | Language::Tamil
        | Language::Turkish
        | Language::Unicode => "",
    }
}

pub(super) const ENGLISH: &str = "
i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself
it its itself they them their theirs themselves this that these those what which who whom when where why how
am is are was were be been being have has had having do does did doing will can should
a an the and but if or because as until while of at by for with about against between into through during before
after above below to from up down in out on off over under again further then once here there just now only too
very so than no nor not same own such all any both each few more most other some
s t d m o y ll re ve ma ain aren couldn didn doesn don hadn hasn haven isn mightn mustn needn shan shouldn wasn
weren won wouldn";

const DANISH: &str = "
en et den det de der som og eller men at i på til fra med af for om ved over under efter før mellem mod uden
jeg du han hun vi mig dig ham hende os jer dem min mit mine din dit dine hans hendes vores jeres deres sig sin sit
sine er var være været bliver blev har havde have ikke hvis når da så hvad hvem hvor dette denne disse";

const DUTCH: &str = "
de het een en of maar dat die dit deze in op te tot van voor met aan uit bij om over onder door naar als dan want
ik jij je u hij zij ze wij we jullie mij me jou hem haar ons hen hun mijn jouw zijn onze wie wat waar er niet
ben bent is was waren geweest wordt worden werd heb hebt heeft had hadden hebben zich ook nog";

const FRENCH: &str = "
le la les un une des du de au aux et ou mais donc or ni car que qui quoi dont où à dans en par pour sur sous sans
avec vers chez entre je tu il elle on nous vous ils elles me te se lui leur leurs moi toi soi eux mon ma mes ton ta
tes son sa ses notre nos votre vos ce cet cette ces ne pas si comme suis es est sommes êtes sont était étaient été
être ai as a avons avez ont avait avaient eu avoir y";

const GERMAN: &str = "
der die das den dem des ein eine einen einem einer eines und oder aber sondern denn dass weil wenn als ob wie in im
an am auf aus bei beim mit nach von vom vor zu zum zur für gegen ohne um durch über unter zwischen bis seit
ich du er sie es wir ihr mich dich ihn uns euch mir dir ihm ihnen sich mein dein sein unser euer
dieser diese dieses diesem diesen wer was wo nicht auch so bin bist ist sind seid war waren gewesen wird werden
wurde habe hast hat haben hatte hatten";

const ITALIAN: &str = "
il lo la i gli le un uno una di a da in con su per tra fra del dello della dei degli delle al allo alla ai agli alle
dal dallo dalla dai dagli dalle nel nello nella nei negli nelle sul sullo sulla sui sugli sulle e ed o ma se che chi
cui non come io tu lui lei noi voi loro mi ti si ci vi ne mio mia miei mie tuo tua tuoi tue suo sua suoi sue nostro
nostra vostro vostra questo questa questi queste quello quella quelli quelle sono sei è siamo siete era erano stato
stata essere ho hai ha abbiamo avete hanno aveva avevano avere l d c dell all dall nell sull";

const NORWEGIAN: &str = "
en ei et den det de som og eller men at i på til fra med av for om ved over under etter før mellom mot uten
jeg du han hun vi meg deg ham henne oss dere dem min mitt mine din ditt dine hans hennes vår vårt våre deres seg sin
sitt sine er var være vært blir ble har hadde ha ikke hvis når da så hva hvem hvor dette denne disse";

const PORTUGUESE: &str = "
o a os as um uma uns umas de do da dos das em no na nos nas por pelo pela pelos pelas para com sem sobre sob entre
até e ou mas que quem se como não eu tu ele ela nós vós eles elas me te lhe lhes meu minha meus minhas teu tua seu
sua seus suas nosso nossa este esta estes estas esse essa esses essas isto isso aquele aquela ao aos à às
sou és é somos são era eram foi foram ser estar está estão tem têm tinha ter";

const SPANISH: &str = "
el la los las un una unos unas de del a al en con por para sin sobre entre hasta desde y e o u pero sino que quien
si como no yo tú él ella nosotros vosotros ellos ellas me te se nos os lo le les mi mis tu tus su sus nuestro
nuestra este esta estos estas ese esa esos esas esto eso aquel aquella soy eres es somos sois son era eran fue
fueron ser estar está están he has ha hemos han había haber";

const SWEDISH: &str = "
en ett den det de som och eller men att i på till från med av för om vid över under efter före mellan mot utan
jag du han hon vi ni mig dig honom henne oss er dem min mitt mina din ditt dina hans hennes vår vårt våra deras sig
sin sitt sina är var vara varit blir blev har hade ha inte när då så vad vem detta denna dessa";

#[cfg(test)]
#[path = "stopwords_tests.rs"]
mod tests;
